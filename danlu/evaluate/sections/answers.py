"""What the systems say: answers side by side, and the exam by category and language."""

from __future__ import annotations

from danlu.evaluate.findings import ReportData, Tree
from danlu.evaluate.markup import Markup, both, interval, join, number, table, tag
from danlu.evaluate.plots import interval_chart
from danlu.evaluate.sections.words import (
    figure,
    figures,
    language_name,
    note,
    role_of,
    section,
    spaced,
    stage_name,
    system_name,
)


def answers(data: ReportData) -> Markup | None:
    """The same questions before and after each stage."""
    if not data.answers:
        return None
    cards = [card(entry, data) for entry in data.answers]
    lead = FROM_THE_EXAM if data.exam.get("systems") else FROM_HELD_OUT
    return section("answers", "The same question, after each stage", "同一个问题，各阶段之后", lead, *cards)


FROM_THE_EXAM = note(
    "The first exam question of each category, languages in turn; nobody picked them for their answers. The "
    "base model sees four worked examples before the question, or it could not answer at all.",
    "每个类别取考卷里的第一题，中英轮换，未经挑选。基座模型在题前先看四个例题，否则无法作答。",
)

FROM_HELD_OUT = note(
    "The first held-out questions of each source and language; nobody picked them for their answers. The "
    "base model knows no turns: it goes on with the question as with any text.",
    "每个来源、每种语言取留出问题中最靠前的，未经挑选。基座模型不懂对话轮次，只是把问题当作文本续写下去。",
)


def card(entry: Tree, data: ReportData) -> Markup:
    turns = [
        tag(
            "div",
            tag("b", SPEAKERS.get(message["role"], message["role"])),
            text(message["content"]),
            class_="turn",
        )
        for message in entry["messages"]
    ]
    said = [answer(name, found) for name, found in entry["answers"].items()]
    names = [category_name(data, entry["category"])] if entry.get("category") else []
    names += [language_name(entry["language"])] if entry.get("language") else []
    title = tag("div", join(names, " · "), class_="label")
    return tag("article", title, *turns, tag("div", *said, class_="said"), class_="card")


def answer(system: str, found: Tree) -> Markup:
    said = (
        text(found["text"])
        if found["text"].strip()
        else tag("div", both("(nothing)", "（空）"), class_="empty")
    )
    return tag(
        "div",
        tag("div", system_name(system), " ", grade_mark(found.get("score")), class_="label"),
        said,
        class_="answer",
        style=f"--tile:var(--{role_of(system)})",
    )


def grade_mark(score: float | None) -> Markup | None:
    """A sign and the grade; nothing where nobody graded."""
    if score is None:
        return None
    sign, name = ("✓", "right") if score >= 1 else ("◐", "partly") if score > 0 else ("✗", "wrong")
    return tag("span", sign, " ", number(score, "plain"), class_=f"grade {name}")


def text(content: str) -> Markup:
    """What a model or a person wrote: never markup, its line breaks kept."""
    return tag("div", content, class_="text", dir="auto")


SPEAKERS = {
    "system": both("system", "系统"),
    "user": both("user", "用户"),
    "assistant": both("assistant", "助手"),
}


def written(data: ReportData) -> Markup | None:
    """How the base model goes on, and what the fine-tuned one says, as the stages recorded it."""
    cards = [written_card(data, stage) for stage in ("pretrain", "sft") if data.summary(stage).get("samples")]
    if not cards:
        return None
    lead = note(
        "Text that the model wrote by itself at the end of a stage, and before it where that was kept.",
        "模型在阶段结束时自己写的文字；有记录时附上阶段之前的。",
    )
    return section("written", "In its own words", "它自己写的", lead, *cards)


def written_card(data: ReportData, stage: str) -> Markup:
    after: list[object] = data.summary(stage)["samples"]
    before: list[object] = data.summary(stage).get("samples_before") or []
    columns = [written_column("before", "之前", before)] if before else []
    columns.append(written_column("after", "之后", after))
    return tag(
        "article",
        tag("div", stage_name(stage), class_="label"),
        tag("div", *columns, class_="said"),
        class_="card",
    )


def written_column(en: str, zh: str, samples: list[object]) -> Markup:
    shown = [" → ".join(map(str, sample)) if isinstance(sample, list) else str(sample) for sample in samples]
    return tag("div", tag("div", both(en, zh), class_="label"), *map(text, shown), class_="answer")


def exam(data: ReportData) -> Markup | None:
    """Charts and tables by category, by language, and of every category in every language."""
    systems: Tree = data.exam.get("systems", {})
    if not systems:
        return None
    charts = figures(
        systems_figure(systems, "categories", "by category, with 95 % intervals", "按类别，附 95 % 区间"),
        *(change_figure(difference) for difference in data.exam.get("differences", [])[:2]),
        systems_figure(systems, "languages", "by language", "按语言"),
        tall_first=True,
    )
    folded = tag(
        "details", tag("summary", both("Every category in each language", "各类别各语言")), cells_table(data)
    )
    parts = (charts, categories_table(data), changes_table(data), folded)
    return section("exam", "The exam", "考试", *parts)


def systems_figure(systems: Tree, group: str, en: str, zh: str) -> Markup:
    """Every system's share of right answers, a row a category or language."""
    names = dict.fromkeys(name for tree in systems.values() for name in tree[group])
    rows = {
        name: {system: tree[group][name] for system, tree in systems.items() if name in tree[group]}
        for name in names
    }
    roles = {name: role_of(name) for name in systems}
    chart = interval_chart(rows, roles, key=f"exam-{group}", title=f"exam, {en}", x_label="right answers, %")
    return figure(chart, en, zh)


def change_figure(difference: Tree) -> Markup:
    """Paired change of each category from one system to another."""
    first, second = difference["from"], difference["to"]
    chart = interval_chart(
        {name: {second: tree} for name, tree in difference["categories"].items()},
        {second: role_of(second)},
        key=f"change-{first}-{second}",
        title=f"paired change by category from {first} to {second}",
        x_label="change, points",
        limits=None,
        level=0.0,
    )
    arrow = join([system_name(first), " → ", system_name(second)])
    return figure(chart, join(["paired change, ", arrow]), join(["逐题配对之变化，", arrow]))


def categories_table(data: ReportData) -> Markup:
    """Every category, its languages together, for every system."""
    systems: Tree = data.exam["systems"]
    first: Tree = next(iter(systems.values()))["categories"]
    rows = [
        [
            category_name(data, name),
            number(tree["n"], "integer"),
            *(interval(each["categories"].get(name)) for each in systems.values()),
        ]
        for name, tree in first.items()
    ]
    macro = [both("macro average", "宏平均"), "", *(interval(each["macro"]) for each in systems.values())]
    headers = [both("right answers, %", "答对率，%"), both("questions", "题数"), *map(system_name, systems)]
    return table(headers, [*rows, macro])


def cells_table(data: ReportData) -> Markup:
    """Every category in every language, for every system."""
    systems: Tree = data.exam["systems"]
    found: dict[tuple[str, str], Tree] = {}
    for name, tree in systems.items():
        for cell in tree["cells"]:
            found.setdefault((cell["category"], cell["language"]), {})[name] = cell
    rows = [
        [
            category_name(data, category),
            language_name(language),
            number(next(iter(by_system.values()))["n"], "integer"),
            *(interval(by_system.get(name)) for name in systems),
        ]
        for (category, language), by_system in found.items()
    ]
    headers = [
        both("right answers, %", "答对率，%"),
        "",
        both("questions", "题数"),
        *map(system_name, systems),
    ]
    return table(headers, rows, text_columns=2)


def changes_table(data: ReportData) -> Markup | None:
    """Paired differences by category: no category should pay for another's gain."""
    differences = data.exam.get("differences", [])
    if not differences:
        return None
    names = dict.fromkeys(name for difference in differences for name in difference["categories"])
    rows = [
        [category_name(data, name), *(interval(d["categories"].get(name), "points") for d in differences)]
        for name in names
    ]
    macro = [both("macro average", "宏平均"), *(interval(d["macro"], "points") for d in differences)]
    headers = [
        both("paired change, points", "配对变化，分"),
        *(join([system_name(d["from"]), " → ", system_name(d["to"])]) for d in differences),
    ]
    return table(headers, [*rows, macro])


def category_name(data: ReportData, name: str) -> Markup:
    label = data.exam.get("labels", {}).get(name, {})
    return both(label.get("en", spaced(name)), label.get("zh", spaced(name)))
