"""How well the reward model knows what people prefer, and what PPO did with it."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.evaluate.findings import ReportData, Tree
from danlu.evaluate.markup import Markup, both, interval, join, number, table, tag
from danlu.evaluate.plots import Series, calibration_chart, interval_chart, line_chart
from danlu.evaluate.sections.words import (
    figure,
    figures,
    language_name,
    note,
    section,
    spaced,
    system_name,
)


def reward(data: ReportData) -> Markup | None:
    """Accuracy on held-out rankings, by kind of difference, and calibration."""
    measured: Tree = {
        name: tree
        for name, tree in data.summary("reward").items()
        if isinstance(tree, dict) and tree.get("accuracy") and "calibration" in tree
    }
    if not measured:
        return None
    kinds = next((measured[name]["kinds"] for name in ("noise_free", "held_out") if name in measured), {})
    return section(
        "reward",
        "Reward model",
        "奖励模型",
        note(
            "Of two answers to one question, how often the model prefers the one that people ranked higher. "
            "Chance is 50 %; people themselves are noisy, so the rankings' own agreement is a ceiling for "
            "the first line. Pairs that people ranked level are left out here and count one half in the "
            "calibration.",
            "同一问题的两个回答，模型与人偏好一致的比例。随机为 50 %；人的排序有噪声，"
            "因此第一行的上限是人与人的一致率。人排为并列的不计入此处，在校准曲线中按一半计。",
        ),
        accuracy_table(measured),
        figures(calibration_figure(measured), kinds_figure(kinds)),
    )


def accuracy_table(measured: Tree) -> Markup:
    rows: list[Sequence[object]] = []
    for name, tree in measured.items():
        counts = [number(tree[key], "integer") for key in ("n_pairs", "n_ties", "n_prompts")]
        error = number(tree["calibration"]["expected_error"], "percent")
        rows.append([reference_name(name), interval(tree["accuracy"]), *counts, error])
        rows += [part_row(both(*words), tree[part]) for part, words in PARTS.items() if part in tree]
        if len(tree["languages"]) > 1:
            rows += [part_row(language_name(lang), group) for lang, group in tree["languages"].items()]
    headers = (
        both("held-out pairs", "留出对比"),
        both("right, %", "一致，%"),
        both("pairs", "对数"),
        both("ties", "并列"),
        both("prompts", "问题"),
        both("calibration error, %", "校准误差，%"),
    )
    return table(headers, rows)


def part_row(name: Markup, group: Tree) -> list[object]:
    """Some of the pairs of the row above."""
    accuracy = interval(group["accuracy"]) if group["accuracy"] else ""
    return [tag("span", name, class_="inset"), accuracy, number(group["n_pairs"], "integer"), "", "", ""]


PARTS = {
    "conduct": ("told apart without knowing the answer", "不知道答案也能分辨的"),
    "at_any_gap": ("with answers of nearly the same worth", "连同价值相近的回答"),
}

REFERENCES = {
    "held_out": ("as people ranked them", "按人的排序"),
    "noise_free": ("as the truth ranks them", "按真值排序"),
    "held_out_many": ("as people ranked ten and more answers", "按人对十个以上回答的排序"),
    "bag_of_words": ("bag of words, on the same pairs", "词袋基线，同样的对比"),
    "bag_of_words_many": ("bag of words, ten and more", "词袋基线，十个以上回答"),
}


def reference_name(name: str) -> Markup:
    return both(*REFERENCES.get(name, (spaced(name), spaced(name))))


def calibration_figure(measured: Tree) -> Markup | None:
    name, tree = next(iter(measured.items()))
    if not tree["calibration"]["points"]:
        return None
    chart = calibration_chart(
        tree["calibration"]["points"], key="calibration", title="calibration of the reward model"
    )
    return figure(
        chart,
        tag(
            "span",
            "calibration, ",
            reference_name(name),
            ": how sure the model is and how often it is right",
        ),
        tag("span", "校准（", reference_name(name), "）：模型有多确信，人有多常同意"),
    )


def kinds_figure(kinds: Tree) -> Markup | None:
    rows = {name: {"reward": group["accuracy"]} for name, group in kinds.items() if group["accuracy"]}
    if len(rows) < 2:
        return None
    chart = interval_chart(
        rows,
        {"reward": "accent"},
        key="kinds",
        title="accuracy by kind of difference",
        x_label="right, %",
        level=0.5,
    )
    counts = ", ".join(
        f"{spaced(name)} {group['n_pairs']:,}" for name, group in kinds.items() if group["accuracy"]
    )
    return figure(
        chart,
        f"by what sets the two answers apart; the dotted line is chance. Pairs: {counts}",
        f"按两个回答的差别；虚线为随机。对数：{counts}",
    )


def ppo(data: ReportData) -> Markup | None:
    """The curves that show whether PPO learnt, and whether it stayed near where it began."""
    charts = [ppo_figure(data, *entry) for entry in PPO_CURVES]
    if not any(chart is not None for chart in charts):
        return None
    return section(
        "ppo",
        "PPO",
        "PPO",
        note(
            "KL is how far the policy has moved from the fine-tuned model; the score is what the reward "
            "model says.",
            "KL 表示策略离微调模型有多远；“得分”是奖励模型给的。",
        ),
        TRUTH if data.curve("ppo", "rollout.true_score") else None,
        figures(*charts),
        course_table(data.ppo),
        held_out_rewards(data.exam.get("rewards") or {}),
    )


TRUTH = note(
    "The true score is what the world's truth would say; nothing learns from it. A score that rises while "
    "the true score falls is over-optimisation.",
    "“真实得分”由世界的真值给出，没有任何阶段从中学习。得分上升而真实得分下降，就是过度优化。",
)


def ppo_figure(data: ReportData, name: str, en: str, zh: str) -> Markup | None:
    points = data.curve("ppo", name)
    if not points:
        return None
    target = data.ppo.get("kl_target") if name == "rollout.kl" else None
    chart = line_chart(
        [Series("measured", points, "ppo")],
        key=name.replace(".", "-"),
        title=f"{en} over PPO's updates",
        level=None if target is None else ("target", target),
    )
    return figure(chart, en, zh)


PPO_CURVES = (
    ("rollout.score", "score by the reward model", "奖励模型得分"),
    ("rollout.true_score", "true score", "真实得分"),
    ("rollout.kl", "KL from the fine-tuned model, nats a completion", "与微调模型的 KL（奈特／回答）"),
    ("rollout.kl_coef", "KL coefficient", "KL 系数"),
    ("entropy", "entropy, nats a token", "熵（奈特／词元）"),
    ("rollout.length", "length, tokens", "长度（词元）"),
    ("clip_fraction", "share of ratios clipped", "被裁剪的比例"),
    ("rollout.explained_variance", "explained variance of the value model", "价值模型解释的方差"),
    ("rollout.ended", "share that ended by itself", "自行结束的比例"),
    ("rollout.distinct", "share of distinct completions", "互不相同的回答比例"),
)


def held_out_rewards(found: Tree) -> Markup | None:
    """What the reward model says of answers to prompts that no stage learnt from, before and after."""
    if not found:
        return None
    systems = [name for name in ("sft", "ppo") if name in found]
    rows = [
        (both(en, zh), *(number(found[name][key], form) for name in systems))
        for key, form, en, zh in (
            ("score", "two", "score by the reward model", "奖励模型得分"),
            ("length", "plain", "length, tokens", "长度（词元）"),
            ("ended", "percent", "ended by themselves, %", "自行结束，%"),
        )
    ]
    n, gain = number(found["n"], "integer"), interval(found["difference"], "two")
    return join(
        [
            table((both("held-out prompts", "留出问题"), *(system_name(name) for name in systems)), rows),
            note(
                join(
                    ["On ", n, " prompts that no stage learnt from; paired difference of the score: ", gain]
                ),
                join(["在没有任何阶段学过的 ", n, " 个问题上；得分的配对差：", gain]),
            ),
        ]
    )


def course_table(course: Tree) -> Markup | None:
    """First and last third of the run in numbers."""
    labels = {name.removeprefix("rollout."): (en, zh) for name, en, zh in PPO_CURVES}
    rows = [
        (both(*labels[name]), number(course[name]["first"], "plain"), number(course[name]["last"], "plain"))
        for name in labels
        if name in course
    ]
    if not rows:
        return None
    headers = ("", both("first third", "前三分之一"), both("last third", "后三分之一"))
    parts: list[object] = [table(headers, rows)]
    if "kl_from_target" in course:
        target, off = number(course["kl_target"]), number(course["kl_from_target"], "change")
        parts.append(
            note(
                join(
                    ["The controller's target for KL is ", target, "; the last third lies ", off, " from it."]
                ),
                join(["控制器的 KL 目标为 ", target, "；后三分之一与其相差 ", off, "。"]),
            )
        )
    return join(parts)
