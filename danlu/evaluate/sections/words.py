"""What stages, systems and languages are called in the report, in English and in Chinese."""

from __future__ import annotations

from danlu.evaluate.markup import Markup, both, tag

SYSTEMS = {
    "untrained": ("untrained", "未训练"),
    "base": ("base", "基座"),
    "sft": ("SFT", "SFT"),
    "sft_longer": ("SFT, continued", "SFT 续训"),
    "ppo": ("PPO", "PPO"),
}
ROLES = {"untrained": "muted", "base": "base", "sft": "sft", "sft_longer": "control", "ppo": "ppo"}
STAGES = {
    "run": ("the whole run", "整个流程"),
    "data": ("cleaning", "清洗"),
    "tokenizer": ("tokenizer", "分词器"),
    "pretrain": ("pretraining", "预训练"),
    "sft": ("fine-tuning", "监督微调"),
    "sft_longer": ("fine-tuning, continued", "续训对照"),
    "comparisons": ("rankings", "排序收集"),
    "reward": ("reward model", "奖励模型"),
    "ppo": ("PPO", "PPO"),
    "evaluate": ("examination", "评测"),
}
LANGUAGES = {
    "en": ("English", "英文"),
    "zh": ("Chinese", "中文"),
    "all": ("all", "合计"),
    "any": ("any", "不限"),
}


def system_name(name: str) -> Markup:
    return both(*SYSTEMS.get(name, (spaced(name), spaced(name))))


def stage_name(name: str) -> Markup:
    return both(*STAGES.get(name, (spaced(name), spaced(name))))


def language_name(name: str) -> Markup:
    return both(*LANGUAGES.get(name, (name, name)))


def role_of(system: str) -> str:
    return ROLES.get(system, "accent")


def spaced(name: str) -> str:
    return name.replace("_", " ")


def section(key: str, en: str, zh: str, *children: object) -> Markup:
    return tag("section", tag("h2", both(en, zh)), *children, id=key)


def note(en: object, zh: object) -> Markup:
    """A sentence or two of explanation."""
    return tag("p", both(en, zh), class_="note")


def figure(chart: Markup, en: object, zh: object) -> Markup:
    return tag("figure", chart, tag("figcaption", both(en, zh)))


def figures(*children: Markup | None, tall_first: bool = False) -> Markup | None:
    """Charts side by side, as many as the width admits; a tall first one stands beside two rows of others."""
    found = [child for child in children if child is not None]
    return tag("div", *found, class_="figures tall-first" if tall_first else "figures") if found else None
