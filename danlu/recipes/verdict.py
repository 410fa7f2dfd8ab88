"""What a run on real files came to, in plain words that its own numbers decide."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from danlu.evaluate.findings import ReportData, collect

Tree = Mapping[str, Any]
Words = tuple[str, str]  # English and Chinese

KNOWS_FACTS_FROM = 1_000_000_000  # parameters; smaller models, and ours by far, have no room for the world
REFERENCES = ((" after ", " 先读 "), ("of the training text", "训练文本"), ("byte 5-gram", "字节五元模型"))
LANGUAGES = {"en": ("English", "英文"), "zh": ("Chinese", "中文")}


def verdict(run_dir: Path) -> dict[str, str]:
    """A paragraph in English and one in Chinese."""
    data = collect(run_dir)
    parts = [size(data), *text(data), preferences(data), many(data), reward(data), judgement(data)]
    said = [part for part in parts if part is not None]
    return {"en": " ".join(en for en, _ in said), "zh": "".join(zh for _, zh in said)}


def size(data: ReportData) -> Words | None:
    trained = data.summary("pretrain")
    if "n_parameters" not in trained:
        return None
    parameters, tokens = trained["n_parameters"] / 1e6, trained["n_tokens"] / 1e6
    return (
        f"A model of {parameters:.1f} million parameters read {tokens:.1f} million tokens of real text.",
        f"模型有 {parameters:.1f} 百万参数，读了 {tokens:.1f} 百万词元的真实文本。",
    )


def text(data: ReportData) -> list[Words]:
    """Bits per byte by language beside the references, and whether they are below all of them."""
    rows = {row["system"]: row["bits_per_byte"] for row in data.bits}
    base = rows.get("base", {})
    others = {name: bits for name, bits in rows.items() if name not in ("base", "sft", "ppo")}
    found: list[Words] = []
    for lang in [name for name in base if name != "all"]:
        en, zh = LANGUAGES.get(lang, (lang, lang))
        beside = {name: bits[lang] for name, bits in others.items() if lang in bits}
        beaten = all(base[lang] < value for value in beside.values())
        listed = ", ".join(f"{name} {value:.2f}" for name, value in beside.items())
        listed_zh = "，".join(f"{in_chinese(name)} {value:.2f}" for name, value in beside.items())
        ahead = ("less than all of them", "低于以上各项") if beaten else ("not less than all", "并非都更低")
        found.append(
            (
                f"A byte of unseen {en} costs it {base[lang]:.2f} bits ({listed}): {ahead[0]}.",
                f"未见{zh}每字节 {base[lang]:.2f} 比特（{listed_zh}）：{ahead[1]}。",
            )
        )
    return found


def in_chinese(reference: str) -> str:
    """The name of what the model is held against."""
    for en, zh in REFERENCES:
        reference = reference.replace(en, zh)
    return reference


def preferences(data: ReportData) -> Words | None:
    found = data.summary("reward")
    if not found.get("held_out") or "bag_of_words" not in found:
        return None
    en, zh = accuracies(found["held_out"], found["bag_of_words"])
    return (
        f"Of unseen pairs that people ranked, the reward model {en}",
        f"人排过序而未见过的对比中，奖励模型{zh}",
    )


def many(data: ReportData) -> Words | None:
    found = data.summary("reward")
    if not found.get("held_out_many"):
        return None
    en, zh = accuracies(found["held_out_many"], found["bag_of_words_many"])
    return f"In rankings of ten and more answers it {en}", f"在十个及以上回答的排序中，它{zh}"


def accuracies(model: Tree, words: Tree) -> Words:
    """Right in how many, against chance and against counts of words."""
    own, other = model["accuracy"], words["accuracy"]["mean"]
    mean, low, high = (100 * own[name] for name in ("mean", "low", "high"))
    chance = (
        ("better than chance", "好于随机") if low > 50 else ("not surely better than chance", "未必好于随机")
    )
    if low > 100 * other:
        words_said = ("better than counting words", "好于数词")
    elif high < 100 * other:
        words_said = ("worse than counting words", "不如数词")
    else:
        words_said = ("no clear difference from counting words", "与数词无明显差别")
    return (
        f"orders {mean:.1f} % as they did [{low:.1f}, {high:.1f}] (chance 50, counts of words "
        f"{100 * other:.1f}): {chance[0]}, {words_said[0]}.",
        f"有 {mean:.1f} % 与人一致 [{low:.1f}, {high:.1f}]（随机 50，词袋 {100 * other:.1f}）："
        f"{chance[1]}，{words_said[1]}。",
    )


def reward(data: ReportData) -> Words | None:
    """What PPO did to the score on held-out prompts, and how far it went for it."""
    found = data.exam.get("rewards")
    if not found:
        return None
    gain, before, after = found["difference"], found["sft"], found["ppo"]
    raised = gain["low"] > 0
    verbs = ("raised", "提高") if raised else ("did not surely change", "未能确定地改变")
    distance = data.ppo.get("kl", {}).get("last")
    near = (
        ("", "") if distance is None else (f", at {distance:.1f} nats of KL", f"，KL 为 {distance:.1f} 奈特")
    )
    return (
        f"On {found['n']} held-out prompts PPO {verbs[0]} the reward model's score: {before['score']:+.2f} "
        f"to {after['score']:+.2f} (paired difference {gain['mean']:+.2f} [{gain['low']:+.2f}, "
        f"{gain['high']:+.2f}]){near[0]}; answers went from {before['length']:.0f} to {after['length']:.0f} "
        "tokens. That score is only as good as the reward model above.",
        f"在 {found['n']} 个留出问题上，PPO {verbs[1]}了奖励得分：{before['score']:+.2f} → "
        f"{after['score']:+.2f}（配对差 {gain['mean']:+.2f} [{gain['low']:+.2f}, {gain['high']:+.2f}]）"
        f"{near[1]}；回答长度由 {before['length']:.0f} 变为 {after['length']:.0f} 词元。"
        "这个得分的可信度不会超过上面的奖励模型。",
    )


def judgement(data: ReportData) -> Words | None:
    trained = data.summary("pretrain")
    if trained.get("n_parameters", KNOWS_FACTS_FROM) >= KNOWS_FACTS_FROM:
        return None
    return (
        "Read the samples as what they are: at this size the model has learnt how sentences and answers "
        "look, in spelling, tone and form. What it says about the world is unreliable, whatever its score, "
        "and is no advice.",
        "请如实看待样例：这种规模的模型学到的是句子和回答的样子，即拼写、语气和格式。"
        "它说的内容无论得分多少都不可靠，也不构成任何建议。",
    )
