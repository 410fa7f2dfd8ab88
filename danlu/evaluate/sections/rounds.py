"""What each round of RLHF gained, what it learnt from, and how far it went for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from danlu.evaluate.findings import Tree
from danlu.evaluate.markup import NOTHING, Markup, both, interval, join, number, table, tag
from danlu.evaluate.plots import Series, line_chart
from danlu.evaluate.sections.words import figure, figures, note, section


class Round(Protocol):
    """What a round's stages have written; see `evaluate.rounds.Round`."""

    @property
    def number(self) -> int: ...
    @property
    def rankings(self) -> Tree: ...
    @property
    def reward(self) -> Tree: ...
    @property
    def frontier(self) -> Tree: ...
    @property
    def best_of_n(self) -> list[Tree]: ...
    @property
    def gain(self) -> Tree: ...
    @property
    def curves(self) -> dict[str, list[list[float]]]: ...


def gains(exam: Tree, true_score: Tree) -> Markup | None:
    """Exam average and true score after every round, with the paired gain over the round before."""
    systems: Tree = exam.get("systems", {})
    if not systems:
        return None
    rows: list[Sequence[object]] = []
    for name, tree in systems.items():
        worth = true_score["systems"][name]["macro"]
        rows.append(
            [
                round_name(name),
                interval(tree["macro"]),
                interval(gain_of(exam, name), "points"),
                interval(worth),
                interval(gain_of(true_score, name), "points"),
            ]
        )
    headers = (
        "",
        both("right, %", "正确率，%"),
        both("gain", "提升"),
        both("true score, %", "真实得分，%"),
        both("gain", "提升"),
    )
    n = number(next(iter(systems.values()))["n"], "integer")
    return section(
        "gains",
        "What each round gained",
        "每一轮的提升",
        table(headers, rows),
        total(exam, true_score),
        note(
            join(
                [
                    n,
                    " exam questions that no stage has seen, averaged over categories and languages, with "
                    "95 % intervals. A gain is paired, question by question, over the line above. The true "
                    "score is what the same answers are worth to somebody who knows the truth: it gives "
                    "credit for what is nearly right, for form and for honesty.",
                ]
            ),
            join(
                [
                    n,
                    " 道任何阶段都没见过的考题，按类别和语言平均，方括号内为 95 % 区间。"
                    "提升是相对上一行的逐题配对差。"
                    "真实得分指同一批回答在知道真相的人看来值多少：接近正确、形式得当、诚实都计分。",
                ]
            ),
        ),
    )


def total(exam: Tree, true_score: Tree) -> Markup | None:
    """The last round against the start, where there were several."""
    if len(exam["systems"]) < 3:
        return None
    last, worth = exam["differences"][-1], true_score["differences"][-1]
    marks, points = interval(last["macro"], "points"), interval(worth["macro"], "points")
    return tag(
        "p",
        both(
            join(["All rounds together: ", marks, " points right, ", points, " of true score."]),
            join(["各轮合计：正确率 ", marks, " 个百分点，真实得分 ", points, "。"]),
        ),
    )


def gain_of(summary: Tree, name: str) -> dict[str, float] | None:
    """The first difference that leads to a system: that from the one before it."""
    return next((d["macro"] for d in summary["differences"] if d["to"] == name), None)


def round_name(name: str) -> Markup:
    if name == "start":
        return both("start (SFT)", "起点（SFT）")
    numeral = name.removeprefix("round-")
    return both(f"round {numeral}", f"第 {numeral} 轮")


def judged(rounds: Sequence[Round]) -> Markup | None:
    """Without an exam: what held-out reward models say of answers before and after a round."""
    rows = [
        [
            round_name(f"round-{each.number}"),
            number(each.gain["before"]["score"], "two"),
            number(each.gain["after"]["score"], "two"),
            interval(each.gain["difference"], "two"),
            number(each.gain["n"], "integer"),
            number(each.gain["after"]["length"], "plain"),
        ]
        for each in rounds
        if each.gain
    ]
    if not rows:
        return None
    headers = (
        "",
        both("before", "之前"),
        both("after", "之后"),
        both("gain, paired", "提升，配对"),
        both("prompts", "问题"),
        both("length, tokens", "长度（词元）"),
    )
    return section(
        "judged",
        "Gains by judges",
        "评审给出的提升",
        table(headers, rows),
        note(
            "Mean score, by reward models that PPO was not trained on, of answers to prompts that no stage "
            "learnt from. Each round has judges of its own, so lines are not to be compared with each other.",
            "由未参与 PPO 训练的奖励模型给出：对没有任何阶段学过的问题，回答的平均分。"
            "各轮的评审不同，行与行之间不可比较。",
        ),
        FLATTERED if any("reward" in each.gain.get("judges", []) for each in rounds) else None,
    )


FLATTERED = note(
    "There were no judges: these are scores by the very reward model that PPO raises, which flatters.",
    "这里没有评审：分数出自 PPO 所抬高的那个奖励模型，因此偏高。",
)


def table_of_rounds(rounds: Sequence[Round]) -> Markup | None:
    """Rankings, reward model and PPO of every round."""
    rows = [row_of(each) for each in rounds if each.rankings]
    if not rows:
        return None
    headers = (
        "",
        both("rankings", "排序"),
        both("learnt from", "用于学习"),
        both("people agree, %", "人与人一致，%"),
        both("reward model right, %", "奖励模型一致，%"),
        both("by the truth, %", "按真值，%"),
        both("KL, nats", "KL，奈特"),
        both("published after update", "发布的更新"),
    )
    return section(
        "rounds",
        "Rounds",
        "各轮",
        table(headers, rows),
        note(
            "The reward model learns from all rounds' rankings. The truth's column is about answers of the "
            "policy that the round began with. KL is from the round's reference. Where the guard saw the "
            "policy fall, an earlier update is published than the last.",
            "奖励模型从所有各轮的排序中学习。“按真值”一列针对本轮起始策略的回答。KL 相对本轮的参考模型。"
            "若守卫发现策略变差，则发布的更新早于最后一次。",
        ),
    )


def row_of(each: Round) -> list[object]:
    looks = each.frontier.get("looks", [])
    kept = each.frontier.get("kept_step")
    kl = next((look["kl"] for look in looks if look["step"] == kept), None)
    if kl is None and (found := each.curves.get("rollout.kl")):
        kl = found[-1][1]
    last = looks[-1]["step"] if looks else None
    published = NOTHING if kept is None else join([number(kept, "integer"), " / ", number(last, "integer")])
    return [
        round_name(f"round-{each.number}"),
        number(each.rankings.get("n_rankings"), "integer"),
        number(each.rankings.get("n_learnt"), "integer"),
        number(each.rankings.get("agreement"), "percent"),
        interval(accuracy_of(each.reward, "held_out")),
        interval(accuracy_of(each.reward, "noise_free")),
        number(kl, "two"),
        published,
    ]


def accuracy_of(reward: Tree, name: str) -> dict[str, float] | None:
    return (reward.get(name) or {}).get("accuracy")


def frontiers(rounds: Sequence[Round]) -> Markup | None:
    """What the policy was worth at each distance from its reference, beside best-of-n."""
    charts = [
        frontier_figure(each, name, en, zh) for each in rounds for name, en, zh in MEASURES if each.frontier
    ]
    shown = figures(*charts)
    if shown is None:
        return None
    return section(
        "frontier",
        "KL and reward",
        "KL 与奖励",
        note(
            "Each look of the guard at held-out prompts, in the order taken. Best-of-n draws 1, 2, 4, … "
            "answers from the reference, takes the one that the reward model likes best, and costs "
            "log n − (n − 1) / n nats. Score up while the truth or the judges go down is over-optimisation.",
            "守卫在留出问题上的每次观察，按时间相连。best-of-n 从参考模型抽 1、2、4……个回答，"
            "取奖励模型最喜欢的一个，代价为 log n − (n − 1) / n 奈特。"
            "得分上升而真实得分或评审分下降，就是过度优化。",
        ),
        shown,
    )


def frontier_figure(each: Round, name: str, en: str, zh: str) -> Markup | None:
    points = [[look["kl"], look[name]] for look in each.frontier["looks"] if look[name] is not None]
    if not points:
        return None
    chosen = [[point["kl"], point[name]["mean"]] for point in each.best_of_n if name in point]
    lines = [Series("PPO", points, "ppo"), Series("best of n", chosen, "control", dashed=True)]
    chart = line_chart(
        [line for line in lines if line.points],
        key=f"frontier-{each.number}-{name}",
        title=f"{en} over KL in round {each.number}",
        x_label="KL from the reference, nats",
    )
    numeral = each.number
    return figure(chart, f"round {numeral}: {en}", f"第 {numeral} 轮：{zh}")


MEASURES = (
    ("score", "score by the reward model that PPO maximises", "PPO 所最大化的奖励模型的得分"),
    ("judges", "gain by the mean of the held-out judges", "留出评审平均分的提升"),
    ("worst", "gain by the worst of the held-out judges", "留出评审最低分的提升"),
    ("true_score", "true score", "真实得分"),
)


def settings(config: str) -> Markup | None:
    """Every setting of the run, folded away."""
    if not config:
        return None
    folded = tag("details", tag("summary", both("the run", "整次运行")), tag("pre", tag("code", config)))
    return section("settings", "Every setting", "全部设置", folded)
