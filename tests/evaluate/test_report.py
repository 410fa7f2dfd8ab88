from __future__ import annotations

import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from made_up_run import write_json, write_lines, write_run

from danlu.data.records import DataError
from danlu.evaluate.report import build, collect, render

LOST = [  # in this order, the sections that go with each stage
    ("ppo", {"ppo"}),
    ("evaluate", {"result", "answers", "exam"}),
    ("plan.json", {"settings"}),
    ("reward", {"reward"}),
    ("data", {"data"}),
    ("tokenizer", {"tokenizer"}),
    ("pretrain", {"bits", "plan"}),
    ("sft", {"curves", "written"}),
]
VOID = {"meta", "input", "br", "path", "use"}


class Reader(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.numbers: list[float] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")
        if tag == "data":
            self.numbers.append(float(dict(attrs)["value"] or "nan"))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    return reader


def numbers_in(tree: Any) -> set[float]:
    if isinstance(tree, dict):
        return set().union(*map(numbers_in, tree.values()))
    if isinstance(tree, list):
        return set().union(*map(numbers_in, tree))
    return {float(tree)} if isinstance(tree, int | float) and not isinstance(tree, bool) else set()


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only: drawing the charts takes a second."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "first-run")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def report(shared_run: Path) -> Path:
    return shared_run / "report.html"


def test_every_number_of_the_page_stands_in_the_json(report, shared_run):
    known = numbers_in(json.loads((shared_run / "report.json").read_text(encoding="utf-8")))
    shown = read(report).numbers
    assert len(shown) > 200
    assert [number for number in shown if number not in known] == []


def test_headline_shows_what_the_exam_summary_says(report, shared_run):
    summary = json.loads((shared_run / "evaluate" / "summary.json").read_text(encoding="utf-8"))
    tiles = re.findall(r'class="big"><data value="([^"]+)">([^<]+)<', report.read_text(encoding="utf-8"))
    wanted = [summary["systems"][name]["macro"]["mean"] for name in ("base", "sft", "ppo")]
    assert [float(exact) for exact, _ in tiles] == wanted
    assert [shown for _, shown in tiles] == [f"{100 * mean:.1f}" for mean in wanted]


def test_adaloras_budget_is_drawn_where_there_is_one(shared_run, report, tmp_path):
    words = "AdaLoRA 保留的奇异值个数"
    assert words not in report.read_text(encoding="utf-8")
    write_json(tmp_path / "plan.json", json.loads((shared_run / "plan.json").read_text(encoding="utf-8")))
    budgets = [{"step": s, "budget": {"kept": 224 - s, "ranks": {"q": 7}}} for s in range(10, 100, 10)]
    write_lines(tmp_path / "sft" / "metrics.jsonl", [{"step": 1, "loss": 2.0}, *budgets])
    build(tmp_path)
    assert words in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_nothing_runs_and_nothing_is_fetched(report):
    reader = read(report)
    assert not {"script", "img", "iframe", "link", "object", "embed", "form"} & set(reader.tags)
    references = [
        value for _, name, value in reader.attributes if name in ("src", "href", "action", "srcset")
    ]
    assert references
    assert all(value.startswith("#") for value in references)
    assert not any(name.startswith("on") for _, name, _ in reader.attributes)
    css = re.findall(r"<style>(.*?)</style>", report.read_text(encoding="utf-8"), re.DOTALL)
    assert "url(" not in css[0]
    assert "@import" not in css[0]


def test_what_models_write_stays_text(report):
    html = report.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(&quot;gotcha&quot;)&lt;/script&gt;" in html


def test_the_page_is_well_formed_and_its_ids_are_unique(report):
    reader = read(report)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    anchors = {value[1:] for _, name, value in reader.attributes if name == "href"}
    assert anchors <= set(reader.ids)


def test_charts_take_the_colours_of_the_page(report):
    svgs = re.findall(r"<svg.*?</svg>", report.read_text(encoding="utf-8"), re.DOTALL)
    assert len(svgs) > 15
    for svg in svgs:
        assert "var(--" in svg
        assert re.search(r"#[0-9a-f]{6}\b", svg) is None
        assert "xmlns" not in svg


def test_same_run_same_page(report, shared_run):
    assert render(collect(shared_run)) == report.read_text(encoding="utf-8")


def test_every_sentence_is_in_both_languages(report):
    html = report.read_text(encoding="utf-8")
    assert html.count('class="en"') == html.count('class="zh"') > 100
    assert "What each stage added" in html
    assert "每个阶段带来了什么" in html


def test_a_missing_stage_takes_away_its_own_sections_and_no_others(run_dir):
    sections = ["result", "stages", "answers", "exam", "plan", "data", "tokenizer", "curves"]
    sections += ["bits", "written", "reward", "ppo", "resources", "settings"]
    for stage, lost in LOST:
        target = run_dir / stage
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        sections = [name for name in sections if name not in lost]
        html = render(collect(run_dir))
        assert re.findall(r'<section id="(\w+)"', html) == sections


def test_an_empty_run_directory_gives_a_page_that_says_so(tmp_path):
    assert "No stage has written anything yet." in build(tmp_path).read_text(encoding="utf-8")


def test_a_missing_run_directory_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no such run directory"):
        build(tmp_path / "none")


def test_numbers_that_json_cannot_say_are_null(run_dir, shared_run):
    text = (shared_run / "report.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    summary = run_dir / "sft" / "summary.json"
    summary.write_text('{"seconds": 1.0, "held_out_loss": NaN}', encoding="utf-8")
    assert collect(run_dir).to_tree()["stages"]["sft"]["summary"]["held_out_loss"] is None


def test_a_line_that_a_kill_cut_short_is_left_out_and_a_broken_one_is_named(run_dir):
    path = run_dir / "sft" / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo', encoding="utf-8")
    assert collect(run_dir).curve("sft", "loss") == [[1, 2.0]]
    path.write_text('{"step": 1, "lo\n{"step": 2, "loss": 1.0}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"metrics\.jsonl:1: not valid JSON"):
        collect(run_dir)


def test_a_long_curve_is_thinned_by_means(run_dir):
    path = run_dir / "sft" / "metrics.jsonl"
    path.write_text("".join(f'{{"step": {i}, "loss": {i}}}\n' for i in range(1, 481)), encoding="utf-8")
    points = collect(run_dir).curve("sft", "loss")
    assert len(points) == 240
    assert points[0] == [1.5, 1.5]


def test_outcome_compares_with_the_loss_predicted_for_the_tokens_really_trained(run_dir):
    outcome = {row["what"]: row for row in collect(run_dir).outcome}
    assert outcome["loss"]["predicted"] == 0.81
    assert outcome["loss"]["change"] == pytest.approx(0.79 / 0.81 - 1)
    # 3.1 + 201.5 + 38.2 + 22.0 + 25.4 + 132.9 seconds
    assert outcome["seconds"]["actual"] == pytest.approx(423.1)


def test_corpus_sums_over_files_and_parts(run_dir):
    corpus = collect(run_dir).corpus
    assert corpus["read"] == {"documents": 10_000, "bytes": 4_000_000}
    assert corpus["kept"] == {"documents": 9330, "bytes": 3_650_000}
    assert corpus["clean_lost_share"] == 0.002


def test_bits_change_from_system_to_system(run_dir):
    bits = collect(run_dir).bits
    assert [row["system"] for row in bits] == ["untrained", "base", "sft", "ppo"]
    assert bits[2]["change"]["all"] == pytest.approx(0.81 / 0.79 - 1)


def test_a_reference_is_shown_and_not_compared(run_dir):
    path = run_dir / "evaluate" / "bits.json"
    bits = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**bits, "references": {"xz -9": {"en": 2.1, "zh": 2.4}}}), encoding="utf-8")
    last = collect(run_dir).bits[-1]
    assert last == {"system": "xz -9", "bits_per_byte": {"en": 2.1, "zh": 2.4}}
    assert "xz -9" in render(collect(run_dir))


def test_a_run_without_an_exam_shows_its_own_samples_and_words(tmp_path):
    write_json(tmp_path / "notes.json", {"en": "It writes <b>badly</b>.", "zh": "写得不好。"})
    sample = {"messages": [{"role": "user", "content": "Hello?"}], "answers": {"sft": {"text": "Hi & bye."}}}
    write_lines(tmp_path / "evaluate" / "samples.jsonl", [sample])
    html = build(tmp_path).read_text(encoding="utf-8")
    assert "It writes &lt;b&gt;badly&lt;/b&gt;." in html
    assert "Hi &amp; bye." in html
    assert 'class="grade' not in html


def test_every_measure_of_a_reward_model_has_its_row(run_dir):
    path = run_dir / "reward" / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**summary, "bag_of_words": summary["held_out"]}), encoding="utf-8")
    html = render(collect(run_dir))
    assert all(name in html for name in ("as people ranked them", "as the truth ranks them", "bag of words"))


def test_kl_of_the_last_third_is_held_against_the_target(run_dir):
    course = collect(run_dir).ppo
    steps = list(range(1, 241, 4))[40:]
    mean = sum(6 * (1 - math.exp(-step / 40)) for step in steps) / len(steps)
    assert course["kl"]["last"] == pytest.approx(mean)
    assert course["kl_from_target"] == pytest.approx(mean / 6 - 1)


def test_samples_are_the_first_of_each_category_in_turning_languages(run_dir):
    answers = collect(run_dir).answers
    assert [entry["category"] for entry in answers][:3] == ["facts", "two_facts", "arithmetic"]
    assert [entry["language"] for entry in answers][:3] == ["en", "zh", "en"]
    assert list(answers[0]["answers"]) == ["base", "sft", "sft_longer", "ppo"]
    assert answers[0]["messages"][0]["content"].endswith("(facts 0)")
