"""The page about a fine-tuned classifier: scores beside what needs no model, confusion, mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.evaluate.markup import Markup, both, interval, number, table, tag
from danlu.evaluate.page import page
from danlu.evaluate.plots import Series, interval_chart, line_chart
from danlu.evaluate.sections.words import figure, figures, note, section

Tree = Mapping[str, Any]

# Of each kind of score: its name in both languages, and whether it is a share.
SCORES = {
    "accuracy": ("accuracy", "准确率"),
    "f1": ("F1", "F1"),
    "exact_match": ("exact match", "完全匹配"),
    "entity_f1": ("entity F1", "实体 F1"),
    "word_accuracy": ("words right", "词准确率"),
    "pearson": ("Pearson", "皮尔逊相关"),
    "spearman": ("Spearman", "斯皮尔曼相关"),
}
SYSTEMS = {
    "fine-tuned": ("fine-tuned", "微调后", "sft"),
    "bag of words": ("bag of words", "词袋", "base"),
    "word overlap": ("word overlap", "词重合", "base"),
    "best sentence": ("likeliest sentence", "最相近的句子", "base"),
    "commonest tag": ("each word's commonest tag", "各词最常见的标签", "base"),
    "majority": ("commonest label", "最常见的类别", "control"),
}
MOST_CLASSES = 40  # that a confusion matrix is drawn for


def render(name: str, report: Tree, curve: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """The whole page.

    Args:
        name: of the run.
        report: what `recipes/classify_report.py` wrote.
        curve: loss and accuracy in training and on held-out examples, points over updates.
    """
    parts = [
        ("result", both("result", "结果"), result(report)),
        ("confusion", both("confusion", "混淆矩阵"), confusion(report)),
        ("classes", both("by class", "各类别"), classes(report)),
        ("data", both("data", "数据"), data(report)),
        ("curves", both("curves", "曲线"), curves(curve)),
        ("mistakes", both("mistakes", "错误"), mistakes(report)),
    ]
    shown = [(key, label, body) for key, label, body in parts if body is not None]
    subtitle = both(
        f"{name} · {report['n_train']:,} examples to learn from, {report['n_held_out']:,} to measure on",
        f"{name} · 训练 {report['n_train']:,} 条，测评 {report['n_held_out']:,} 条",
    )
    return page(name, subtitle, shown, heading=both("A fine-tuned classifier", "微调得到的分类器"))


def result(report: Tree) -> Markup:
    """Every system's scores with intervals."""
    systems: Tree = report["systems"]
    names = [each for each in SCORES if any(each in scores for scores in systems.values())]
    chart = interval_chart(
        {
            SCORES[each][0]: {SYSTEMS[s][0]: tree[each] for s, tree in systems.items() if each in tree}
            for each in names
        },
        {SYSTEMS[s][0]: SYSTEMS[s][2] for s in systems},
        key="scores",
        title="scores of every system with 95 % intervals",
        x_label="%",
        limits=None,
    )
    rows = [
        [both(*SYSTEMS[s][:2]), *(interval(tree.get(each)) for each in names), *_extra(tree)]
        for s, tree in systems.items()
    ]
    headers = [both("system", "系统"), *(both(*SCORES[each]) for each in names)]
    headers += [both("macro F1", "宏平均 F1"), both("Matthews", "马修斯相关")] * ("macro_f1" in _own(report))
    difference = report.get("difference")
    lead = note(
        "In percent, with 95 % intervals, on examples that were not trained on.",
        "单位为百分之一，附 95 % 区间，在没有训练过的样例上测得。",
    )
    gain = (
        None
        if difference is None
        else tag(
            "p",
            both("Fine-tuned less the baseline, on the same examples: ", "同样的样例上，微调后减去基线："),
            interval(difference, "points"),
        )
    )
    scores = figures(figure(chart, "scores with 95 % intervals", "得分及 95 % 区间"))
    return section("result", "Result", "结果", lead, scores, table(headers, rows), gain)


def _own(report: Tree) -> Tree:
    return report["systems"]["fine-tuned"]


def _extra(tree: Tree) -> list[Markup]:
    return [number(tree[name], "percent") for name in ("macro_f1", "matthews") if name in tree]


def confusion(report: Tree) -> Markup | None:
    """Rows are what was right, columns what was said; the darker, the larger the share of its row."""
    counts: list[list[int]] | None = _own(report).get("confusion")
    labels = list(_own(report).get("classes", {}))
    if counts is None or len(labels) > MOST_CLASSES:
        return None
    rows = [
        [label, *(_cell(n, sum(row), i == j) for j, n in enumerate(row))]
        for i, (label, row) in enumerate(zip(labels, counts, strict=True))
    ]
    lead = note(
        "A row holds the examples of a class, a column what they were taken for.",
        "每一行是一个类别的样例，每一列是它们被判成的类别。",
    )
    return section("confusion", "Confusion matrix", "混淆矩阵", lead, table(["", *labels], rows))


def _cell(n: int, total: int, right: bool) -> Markup:
    share = 100 * n / total if total else 0.0
    role = "good" if right else "bad"
    shade = f"background:color-mix(in srgb, var(--{role}) {share * 0.6:.0f}%, transparent)"
    return tag("span", f"{n:,}", style=f"display:block;padding:.1rem .4rem;{shade}")


def classes(report: Tree) -> Markup | None:
    """Precision, recall and F1 of every class or name."""
    found: Tree | None = _own(report).get("classes")
    if not found:
        return None
    rows = [
        [
            label,
            number(each["n"], "integer"),
            number(each["said"], "integer"),
            *(number(each[name], "percent") for name in ("precision", "recall", "f1")),
        ]
        for label, each in found.items()
    ]
    headers = [
        both("class", "类别"),
        both("examples", "样例数"),
        both("said", "判定数"),
        both("precision", "精确率"),
        both("recall", "召回率"),
        "F1",
    ]
    return section("classes", "By class", "各类别", table(headers, rows))


def data(report: Tree) -> Markup:
    """How the labels are spread, and what the model did not get to see."""
    spread: Tree = report["balance"]
    total = sum(spread.values())
    headers = [
        both("label", "类别"),
        both("training", "训练"),
        both("share", "占比"),
        both("held out", "留出"),
    ]
    rows = [
        [
            label,
            number(n, "integer"),
            number(n / total, "percent"),
            number(report["held_out_balance"].get(label, 0), "integer"),
        ]
        for label, n in spread.items()
    ]
    cut = report["cut"]
    lead = note(
        f"Longer than {report['max_len']} tokens and cut: {cut['train']:,} training and {cut['held_out']:,} "
        f"held-out examples. Held-out examples that stand in training too: {report['in_both']:,}. Texts with "
        f"more than one label: {report['contradictions']:,}.",
        f"超过 {report['max_len']} 个词元而被截断：训练 {cut['train']:,} 条，留出 {cut['held_out']:,} 条。"
        f"与训练样例重复的留出样例：{report['in_both']:,} 条。"
        f"标签自相矛盾的文本：{report['contradictions']:,} 条。",
    )
    return section("data", "Data", "数据", lead, table(headers, rows) if rows else None)


def curves(curve: Mapping[str, Sequence[tuple[float, float]]]) -> Markup | None:
    """The losses of labels and of words, and accuracy, over the updates."""
    charts = [
        figure(
            line_chart([Series(en, curve[key])], key=f"curve-{i}", title=f"{en} over updates"),
            en,
            zh,
        )
        for i, (key, en, zh) in enumerate(CURVES)
        if curve.get(key)
    ]
    found = figures(*charts)
    return None if found is None else section("curves", "Training", "训练过程", found)


CURVES = (
    ("label", "loss of the labels", "标签损失"),
    ("words", "language-modelling loss", "语言模型损失"),
    ("held_out", "held-out score, %", "留出集得分（%）"),
)


def mistakes(report: Tree) -> Markup | None:
    """Those of which the model was surest."""
    wrong: Sequence[Tree] = report["mistakes"]
    if not wrong:
        return None
    rows = [
        [
            tag("span", each["text"], class_="example"),
            each["wanted"],
            each["said"],
            number(each["probability"], "percent"),
        ]
        for each in wrong
    ]
    headers = [
        both("text", "文本"),
        both("right", "正确"),
        both("said", "判为"),
        both("its probability", "所判概率"),
    ]
    lead = note("The surest mistakes first.", "最有把握的错误排在前面。")
    return section("mistakes", "Mistakes", "错误", lead, table(headers, rows, text_columns=3))
