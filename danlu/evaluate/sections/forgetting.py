"""What continued pretraining gained and what was forgotten: bits per byte of both texts, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.evaluate.markup import Markup, both, number, table, tag
from danlu.evaluate.page import page
from danlu.evaluate.plots import Series, line_chart
from danlu.evaluate.sections.words import figure, figures, language_name, note, section

TEXTS = {"new": ("new text", "新文本", "sft"), "general": ("general text", "通用文本", "ppo")}
BITS = "bits_per_byte"


def forgetting_page(
    name: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
) -> str:
    """The report of one run.

    Args:
        name: of the run.
        before: by text, what the base made of its held-out part, with `bits_per_byte` by language.
        after: the same of the model that came out.
        metrics: the run's lines.
    """
    body = section(
        "forgetting",
        "Gained and forgotten",
        "学到与遗忘",
        note(
            "Bits that a byte of held-out text costs, less is better. The new text is what was to be learnt; "
            "the general text is what the base knew before.",
            "留出文本每个字节所需的比特数，越少越好。新文本是要学的；通用文本是基座原来就会的。",
        ),
        table(
            [both("text", "文本"), both("language", "语言"), *HEADERS],
            rows(before, after),
            text_columns=2,
        ),
        curve(metrics),
    )
    return page(
        name,
        tag("b", name),
        [("forgetting", both("gained and forgotten", "学到与遗忘"), body)],
        heading=both("A base taken further", "基座继续预训练"),
    )


def rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[list[object]]:
    """Each text by language, all languages last."""
    found: list[list[object]] = []
    for text, measured in before.items():
        for language, bits in measured[BITS].items():
            now = after[text][BITS][language]
            change = number(now / bits - 1, "change")
            found.append(
                [
                    text_name(text),
                    language_name(language),
                    number(bits, "three"),
                    number(now, "three"),
                    change,
                ]
            )
    return found


def curve(metrics: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Bits per byte of both texts over the updates."""
    measured = [line for line in metrics if "held_out" in line]
    lines = [
        Series(english, [(line["step"], line["held_out"][text][BITS]["all"]) for line in measured], role)
        for text, (english, _, role) in TEXTS.items()
        if measured and text in measured[0]["held_out"]
    ]
    chart = line_chart(lines, key="forgetting", title="bits per byte of both texts over updates")
    return figures(
        figure(chart, "bits per byte of held-out text over updates", "留出文本的比特／字节随更新的变化")
    )


def text_name(text: str) -> Markup:
    english, chinese, _ = TEXTS[text]
    return both(english, chinese)


HEADERS = (both("before", "之前"), both("after", "之后"), both("change", "变化"))
