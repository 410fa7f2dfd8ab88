"""How the models were trained: loss curves, bits per byte, time, memory and settings."""

from __future__ import annotations

from danlu.evaluate.findings import ReportData
from danlu.evaluate.markup import NOTHING, Markup, bar, both, number, table, tag
from danlu.evaluate.plots import Series, line_chart
from danlu.evaluate.sections.words import (
    figure,
    figures,
    language_name,
    note,
    section,
    stage_name,
    system_name,
)


def losses(data: ReportData) -> Markup | None:
    """Training and held-out loss of every trained stage, and how fast pretraining went."""
    found = figures(
        loss_figure(data, "pretrain", "held_out.eval_loss"),
        speed_figure(data),
        bits_figure(data),
        loss_figure(data, "sft", "held_out_loss"),
        loss_figure(data, "reward", None),
        budget_figure(data),
    )
    if found is None:
        return None
    lead = note(
        "Loss in nats a token (for the reward model: a ranking). Held-out loss is measured on text that was "
        "not trained on.",
        "损失单位为奈特／词元（奖励模型为每次排序）。留出损失在没有训练过的文本上测得。",
    )
    return section("curves", "Training curves", "训练曲线", lead, found)


def loss_figure(data: ReportData, stage: str, held_out: str | None) -> Markup | None:
    points = data.curve(stage, "loss")
    if not points:
        return None
    lines = [Series("training", points, "accent")]
    if held_out is not None and data.curve(stage, held_out):
        lines.append(Series("held out", data.curve(stage, held_out), "ppo", dashed=True))
    chart = line_chart(lines, key=f"loss-{stage}", title=f"loss of {stage} over updates")
    return figure(chart, *(stage_caption(stage, "loss of ", "的损失")))


def stage_caption(stage: str, en: str, zh: str) -> tuple[Markup, Markup]:
    name = stage_name(stage)
    return tag("span", en, name), tag("span", name, zh)


def speed_figure(data: ReportData) -> Markup | None:
    points = data.curve("pretrain", "tokens_per_s")
    if not points:
        return None
    chart = line_chart([Series("tokens/s", points)], key="speed", title="tokens per second over updates")
    return figure(chart, "speed of pretraining, tokens a second", "预训练速度（词元／秒）")


def bits_figure(data: ReportData) -> Markup | None:
    lines = [
        Series(label, data.curve("pretrain", f"held_out.bits_per_byte.{lang}"), role)
        for lang, label, role in (("en", "English", "sft"), ("zh", "Chinese", "ppo"))
    ]
    if not any(line.points for line in lines):
        return None
    chart = line_chart(lines, key="bits", title="bits per byte of held-out text over updates")
    return figure(chart, "bits per byte of held-out text while pretraining", "预训练中留出文本的比特／字节")


def budget_figure(data: ReportData) -> Markup | None:
    """The trace of AdaLoRA's budget."""
    stages = (("sft", "sft"), ("reward", "accent"), ("ppo", "ppo"))
    curves = [(stage, data.curve(stage, "budget.kept"), role) for stage, role in stages]
    lines = [Series(stage, points, role) for stage, points, role in curves if points]
    if not lines:
        return None
    chart = line_chart(lines, key="budget", title="singular values that AdaLoRA keeps, over updates")
    return figure(chart, "singular values that AdaLoRA keeps", "AdaLoRA 保留的奇异值个数")


def bits(data: ReportData) -> Markup | None:
    """Bits per byte by language before and after each stage."""
    if not data.bits:
        return None
    languages = list(dict.fromkeys(lang for row in data.bits for lang in row["bits_per_byte"]))
    rows = [
        [
            system_name(row["system"]),
            *(number(row["bits_per_byte"].get(lang), "three") for lang in languages),
            number(row.get("change", {}).get("all"), "change"),
        ]
        for row in data.bits
    ]
    headers = ["", *(language_name(lang) for lang in languages), both("change", "变化")]
    return section(
        "bits",
        "Bits per byte",
        "比特／字节",
        note(
            "How many bits the model needs for a byte of text it has never seen; less is better, 8 is no "
            "knowledge at all. Stages after pretraining should not lose much of it.",
            "模型编码一个字节的未见文本需要多少比特：越少越好，8 等于一无所知。"
            "预训练之后的阶段不应明显变差。",
        ),
        table(headers, rows),
    )


def resources(data: ReportData) -> Markup | None:
    """Time and memory by stage."""
    if not data.resources:
        return None
    rows = [
        (
            stage_name(row["stage"]),
            number(row["seconds"], "duration"),
            bar(row["share"]),
            number(row["share"], "percent"),
            number(row["peak_memory_bytes"], "size") if row["peak_memory_bytes"] else NOTHING,
        )
        for row in data.resources
    ]
    headers = ("", both("time", "用时"), "", "%", both("peak memory", "内存峰值"))
    return section("resources", "Time and memory", "时间与内存", table(headers, rows))


def settings(data: ReportData) -> Markup | None:
    """Every setting of every stage, folded away, and what the plan knew of the machine."""
    texts = {"run": data.config, **{name: stage.config for name, stage in data.stages.items()}}
    folded = [
        tag("details", tag("summary", stage_name(name)), tag("pre", tag("code", text)))
        for name, text in texts.items()
        if text
    ]
    facts = [(key.replace("_", " "), value) for key, value in flat_facts(data)]
    about = [table((both("plan", "计划"), ""), facts, text_columns=2)] if facts else []
    if not folded and not facts:
        return None
    return section("settings", "Every setting", "全部设置", *about, *folded)


def flat_facts(data: ReportData) -> list[tuple[str, object]]:
    """What the plan says of machine, model and seed, one line a fact."""
    found: list[tuple[str, object]] = []
    for key, value in data.plan.items():
        if isinstance(value, dict) and key != "predicted":
            found += [(f"{key} {name}", fact(each)) for name, each in value.items()]
        elif not isinstance(value, dict | list):
            found.append((key, fact(value)))
    return found


def fact(value: object) -> object:
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
