"""The first screen: what came out, what each stage added, and whether the plan was kept."""

from __future__ import annotations

from collections.abc import Callable

from danlu.evaluate.findings import ReportData, Tree
from danlu.evaluate.markup import Markup, bar, both, interval, join, number, table, tag
from danlu.evaluate.sections.words import language_name, note, role_of, section, stage_name, system_name

LADDER = ("base", "sft", "ppo")  # the systems of the headline; others stand below as controls


def headline(data: ReportData) -> Markup | None:
    """Exam averages as tiles, each with its gain over the one before; then what the run says of itself."""
    systems: Tree = data.exam.get("systems", {})
    parts: list[Markup] = exam_headline(data, systems) if systems else []
    if data.notes:
        parts.append(tag("p", both(data.notes.get("en", ""), data.notes.get("zh", ""))))
    return section("result", "Result", "结果", *parts) if parts else None


def exam_headline(data: ReportData, systems: Tree) -> list[Markup]:
    shown = [name for name in LADDER if name in systems] or list(systems)
    tiles = [tile(name, systems[name]["macro"], difference_to(data.exam, name)) for name in shown]
    controls = [control(d) for d in data.exam.get("differences", []) if d["to"] not in shown]
    n = number(systems[shown[0]]["n"], "integer")
    en = (
        " held-out exam questions answered right, in percent: the average over categories and both "
        "languages, with 95 % intervals. Gains are paired, question by question. No stage ever saw the exam "
        "or the truth that grades it."
    )
    zh = (
        " 道留出考题的答对率（%）：先按类别和语言求平均，方括号内为 95 % 区间；提升为逐题配对之差。"
        "任何阶段都没有见过考题，也没有见过用来评分的真值。"
    )
    return [tag("div", *tiles, class_="tiles"), *controls, note(join(["Share of ", n, en]), join([n, zh]))]


def tile(name: str, macro: Tree, difference: Tree | None) -> Markup:
    gain = (
        tag("span", HOW_ASKED.get(name, ""), class_="gain") if difference is None else gain_line(difference)
    )
    return tag(
        "div",
        tag("div", system_name(name), class_="label"),
        tag("div", number(macro["mean"], "percent"), tag("small", " %"), class_="big"),
        tag(
            "div",
            "[",
            number(macro["low"], "percent"),
            ", ",
            number(macro["high"], "percent"),
            "]",
            class_="ci",
        ),
        bar(macro["mean"], role_of(name)),
        gain,
        class_="tile",
        style=f"--tile:var(--{role_of(name)})",
    )


HOW_ASKED = {"base": both("prompted with four examples", "题前附四个例题")}


def gain_line(difference: Tree) -> Markup:
    macro = difference["macro"]
    clear = macro["low"] > 0 or macro["high"] < 0
    verdict = both("", "") if clear else both("; may be chance", "；可能是偶然")
    return tag(
        "span",
        tag("b", number(macro["mean"], "points")),
        both(" points over ", " 分，相对 "),
        system_name(difference["from"]),
        " ",
        tag(
            "small",
            "[",
            number(macro["low"], "points"),
            ", ",
            number(macro["high"], "points"),
            "]",
            class_="ci",
        ),
        verdict,
        class_="gain",
    )


def control(difference: Tree) -> Markup:
    return tag(
        "p",
        both("Control: ", "对照："),
        system_name(difference["to"]),
        " ",
        gain_line(difference),
        class_="control",
    )


def difference_to(exam: Tree, name: str) -> Tree | None:
    return next((d for d in exam.get("differences", []) if d["to"] == name), None)


def ladder(data: ReportData) -> Markup | None:
    """One line a stage: what it does, what it added, how long it took."""
    rows = [
        tag(
            "li",
            tag("div", stage_name(name), tag("small", seconds_of(data, name)), class_="label"),
            tag("div", what, class_="what"),
            tag("div", added, class_="added"),
        )
        for name, (what, measure) in ADDED.items()
        if (added := measure(data)) is not None
    ]
    if not rows:
        return None
    return section("stages", "What each stage added", "每个阶段带来了什么", tag("ol", *rows, class_="ladder"))


def seconds_of(data: ReportData, stage: str) -> Markup | None:
    seconds = data.summary(stage).get("seconds")
    return None if seconds is None else number(seconds, "duration")


def cleaning_added(data: ReportData) -> Markup | None:
    if not data.corpus:
        return None
    kept, read = (number(data.corpus[verb]["bytes"], "size") for verb in ("kept", "read"))
    return both(join([kept, " kept of ", read]), join([read, " 中保留 ", kept]))


def tokenizer_added(data: ReportData) -> Markup | None:
    ratios = data.summary("tokenizer").get("bytes_per_token")
    if not ratios:
        return None
    shown = [join([language_name(lang), " ", number(ratio, "two")]) for lang, ratio in ratios.items()]
    return join([join(shown, " · "), both(" bytes a token", " 字节／词元")])


def pretrain_added(data: ReportData) -> Markup | None:
    found = {row["system"]: row["bits_per_byte"].get("all") for row in data.bits}
    if found.get("base") is None:
        return None
    before = [number(found["untrained"], "two"), " → "] if found.get("untrained") is not None else []
    return join(
        [
            *before,
            number(found["base"], "two"),
            both(" bits per byte of unseen text", " 比特／字节（未见文本）"),
        ]
    )


def exam_added(system: str) -> Callable[[ReportData], Markup | None]:
    def added(data: ReportData) -> Markup | None:
        found = difference_to(data.exam, system)
        if found is None:
            return None
        return join([both("exam ", "考试 "), interval(found["macro"], "points"), both(" points", " 分")])

    return added


def loss_added(data: ReportData) -> Markup | None:
    """Where there is no exam: how well held-out answers are foretold."""
    loss = data.summary("sft").get("held_out_loss")
    return (
        None
        if loss is None
        else join([number(loss, "two"), both(" nats a token of unseen answers", " 奈特／词元（未见回答）")])
    )


def reward_gained(data: ReportData) -> Markup | None:
    """Where there is no exam: what the reward model says of it."""
    gain = data.exam.get("rewards", {}).get("difference")
    if gain is None:
        return None
    return join(
        [both("reward ", "奖励 "), interval(gain, "two"), both(" on held-out prompts", "（留出问题）")]
    )


def rankings_added(data: ReportData) -> Markup | None:
    summary = data.summary("comparisons")
    if "n_rankings" not in summary:
        return None
    parts: list[object] = [number(summary["n_rankings"], "integer"), both(" rankings", " 次排序")]
    if summary.get("agreement") is not None:
        share = number(summary["agreement"], "percent")
        parts += [both("; two people agree on ", "；两人一致率 "), share, both(" % of pairs", " %")]
    return join(parts)


def reward_added(data: ReportData) -> Markup | None:
    measured = data.summary("reward").get("held_out") or {}
    if not measured.get("accuracy"):
        return None
    accuracy = interval(measured["accuracy"])
    return join(
        [both("orders ", "排对 "), accuracy, both(" % of unseen pairs as people do", " % 的未见对比")]
    )


ADDED: dict[str, tuple[Markup, Callable[[ReportData], Markup | None]]] = {
    "data": (
        both("drops duplicates, broken text, advertisements, private data", "去掉重复、乱码、广告和隐私"),
        cleaning_added,
    ),
    "tokenizer": (
        both("cuts text into pieces it learnt from the text", "把文本切成从语料学来的片段"),
        tokenizer_added,
    ),
    "pretrain": (
        both("learns language and facts by predicting what comes next", "预测下文，学会语言和事实"),
        pretrain_added,
    ),
    "sft": (
        both("learns to answer, from people's demonstrations", "从人写的示范学会回答"),
        lambda data: exam_added("sft")(data) or loss_added(data),
    ),
    "comparisons": (
        both("people rank several answers to one question", "人给同一问题的几个回答排序"),
        rankings_added,
    ),
    "reward": (both("learns what people prefer", "学会人的偏好"), reward_added),
    "ppo": (
        both("practises answers that the reward model prefers", "练习奖励模型偏好的回答"),
        lambda data: exam_added("ppo")(data) or reward_gained(data),
    ),
}


def plan(data: ReportData) -> Markup | None:
    """Predicted and actual, side by side."""
    if not data.outcome:
        return None
    rows = [
        (
            outcome_name(row["what"]),
            number(row["predicted"], form := OUTCOME_FORMS.get(row["what"], "duration")),
            number(row["actual"], form),
            number(row["change"], "change"),
        )
        for row in data.outcome
    ]
    headers = ("", both("predicted", "预测"), both("actual", "实际"), both("off by", "相差"))
    return section(
        "plan",
        "Plan and outcome",
        "计划与结果",
        table(headers, rows),
        note(
            "Predicted before the run from a few seconds of measuring this machine. The loss is predicted "
            "for the tokens that were really trained.",
            "运行前先用几秒钟测量本机，再作预测；损失按实际训练的词元数预测。",
        ),
    )


OUTCOME_FORMS = {"tokens": "count", "loss": "three", "seconds": "duration"}
OUTCOMES = {
    "seconds": ("time in all", "总时间"),
    "tokens": ("tokens of pretraining", "预训练词元"),
    "loss": ("pretraining loss, bits per byte", "预训练损失（比特／字节）"),
}


def outcome_name(what: str) -> Markup:
    if what in OUTCOMES:
        return both(*OUTCOMES[what])
    return join([both("time of ", "用时："), stage_name(what.removeprefix("seconds."))])
