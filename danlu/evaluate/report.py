"""One self-contained page about a run, and a JSON file with the same numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from danlu.evaluate.findings import ReportData, collect
from danlu.evaluate.markup import Markup, both, join, number, tag
from danlu.evaluate.page import page
from danlu.evaluate.sections import alignment, answers, corpus, overview, training

__all__ = ["ReportData", "build", "collect", "render"]


def build(run_dir: Path) -> Path:
    """Write `report.html` and `report.json` into the run directory, from whatever its stages have written."""
    data = collect(run_dir)
    tree = json.dumps(data.to_tree(), ensure_ascii=False, indent=1, allow_nan=False)
    (run_dir / "report.json").write_text(tree, encoding="utf-8")
    path = run_dir / "report.html"
    path.write_text(render(data), encoding="utf-8")
    return path


def render(data: ReportData) -> str:
    """The page; sections without data are left out."""
    found = [(key, both(en, zh), body) for key, en, zh, make in SECTIONS if (body := make(data)) is not None]
    if not found:
        body = tag("p", both("No stage has written anything yet.", "还没有任何阶段写出结果。"))
        found = [("empty", both("nothing yet", "暂无"), tag("section", body, id="empty"))]
    return page(data.name, subtitle(data), found)


def subtitle(data: ReportData) -> Markup:
    """What it took, in one line."""
    trained = data.summary("pretrain")
    total = next((row["actual"] for row in data.outcome if row["what"] == "seconds"), None)
    parts = [
        (data.corpus.get("read", {}).get("bytes"), "size", "of text", "文本"),
        (trained.get("n_parameters"), "count", "parameters", "参数"),
        (trained.get("n_tokens"), "count", "tokens", "词元"),
        (total, "duration", "", ""),
    ]
    shown = [join([number(value, form), both(f" {en}", f" {zh}")]) for value, form, en, zh in parts if value]
    return join([tag("b", data.name), *shown], " · ")


SECTIONS: tuple[tuple[str, str, str, Callable[[ReportData], Markup | None]], ...] = (
    ("result", "result", "结果", overview.headline),
    ("stages", "stages", "阶段", overview.ladder),
    ("answers", "answers", "回答", answers.answers),
    ("exam", "exam", "考试", answers.exam),
    ("plan", "plan", "计划", overview.plan),
    ("data", "data", "数据", corpus.account),
    ("tokenizer", "tokenizer", "分词器", corpus.tokenizer),
    ("curves", "curves", "曲线", training.losses),
    ("bits", "bits per byte", "比特／字节", training.bits),
    ("written", "own words", "自述", answers.written),
    ("reward", "reward model", "奖励模型", alignment.reward),
    ("ppo", "PPO", "PPO", alignment.ppo),
    ("resources", "time and memory", "时间与内存", training.resources),
    ("settings", "settings", "设置", training.settings),
)
