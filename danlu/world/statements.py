"""One fact as the short full sentence that answers a question about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from danlu.world.names import Kind, Lang, Name, with_article
from danlu.world.truth import Entity
from danlu.world.values import INSTRUMENT_VERBS
from danlu.world.wording import capital


@dataclass(frozen=True, slots=True)
class Mention:
    """How a sentence speaks of its subject."""

    x: str  # Mira Tolen, the mirrin, she
    xs: str  # Mira Tolen's, the mirrin's, her


def by_name(kind: Kind, name: Name, lang: Lang) -> Mention:
    """The subject by its name; animals and things take an article in English."""
    if lang == "zh":
        return Mention(name.zh, f"{name.zh}的")
    full = f"the {name.en}" if kind in ("animal", "thing") else name.en
    return Mention(full, f"{full}'s")


def by_pronoun(kind: Kind, sort: str, lang: Lang) -> Mention:
    """The subject as she, he or it."""
    return PRONOUNS[lang][sort if kind == "person" else "it"]


def pronoun_of(entity: Entity, lang: Lang) -> Mention:
    """The pronoun for an entity of the world."""
    return by_pronoun(entity.kind, entity.sort, lang)


def statements(kind: Kind, attribute: str, value: Name, mention: Mention, lang: Lang) -> list[str]:
    """All wordings of one fact, the plainest first."""
    slots = {"x": mention.x, "xs": mention.xs, "v": value.get(lang), **_forms(attribute, value)}
    return [capital(pattern.format_map(slots)) for pattern in STATEMENTS[kind, attribute][lang]]


def _forms(attribute: str, value: Name) -> dict[str, str]:
    """The value with what English or Chinese grammar puts round it."""
    return {
        "a_v": with_article(value.en),
        "in_v": f"{'on' if value.en in ON_TOP else 'in'} {value.en}",
        "play": INSTRUMENT_VERBS.get(value.zh, "演奏") if attribute == "instrument" else "",
    }


def question_about(pattern: str, mention: Mention) -> str:
    """A question pattern with its subject filled in, whether named or a pronoun."""
    text = pattern.replace("{x}'s", mention.xs) if mention.xs else pattern
    return capital(text.replace("the {x}", mention.x).replace("{x}", mention.x))


def takes_pronoun(pattern: str) -> bool:
    """Whether a pronoun may stand in the pattern: not in 'the job of {x}' or before the noun it owns."""
    return "of {x}" not in pattern and "of the {x}" not in pattern and "{x}'s home" not in pattern


ON_TOP = frozenset({"islands", "cliffs", "snowfields", "treetops", "mountains", "meadows"})
PRONOUNS: dict[Lang, dict[str, Mention]] = {
    "en": {"f": Mention("she", "her"), "m": Mention("he", "his"), "it": Mention("it", "its")},
    "zh": {"f": Mention("她", "她的"), "m": Mention("他", "他的"), "it": Mention("它", "它的")},
}
_Wordings = Mapping[Lang, tuple[str, ...]]


def _both(en: str, zh: str) -> _Wordings:
    return {"en": tuple(en.split(" | ")), "zh": tuple(zh.split(" | "))}


STATEMENTS: Mapping[tuple[Kind, str], _Wordings] = {
    ("person", "job"): _both("{x} is {a_v}. | {x} works as {a_v}.", "{x}是{v}。 | {xs}职业是{v}。"),
    ("person", "home"): _both("{x} lives in {v}. | {xs} home is in {v}.", "{x}住在{v}。 | {xs}家在{v}。"),
    ("person", "pet"): _both("{x} has {a_v}. | {x} keeps {a_v}.", "{x}养了{v}。 | {xs}宠物是{v}。"),
    ("person", "favourite_food"): _both(
        "{x} likes {v} best. | {xs} favourite food is {v}.", "{x}最爱吃{v}。 | {x}最喜欢的食物是{v}。"
    ),
    ("person", "favourite_colour"): _both(
        "{xs} favourite colour is {v}. | {x} likes {v} best.", "{x}最喜欢{v}。 | {x}最喜欢的颜色是{v}。"
    ),
    ("person", "age"): _both("{x} is {v} years old. | {x} is {v}.", "{x}{v}岁。 | {x}今年{v}岁。"),
    ("person", "friend"): _both(
        "{xs} best friend is {v}. | {v} is {xs} best friend.", "{x}最好的朋友是{v}。 | {v}是{x}最好的朋友。"
    ),
    ("person", "instrument"): _both(
        "{x} plays the {v}. | {x} can play the {v}.", "{x}会{play}{v}。 | {xs}乐器是{v}。"
    ),
    ("place", "region"): _both("{x} lies in the {v}. | {x} is in the {v}.", "{x}在{v}。 | {x}位于{v}。"),
    ("place", "river"): _both(
        "The {v} runs through {x}. | {x} lies on the {v}.", "{v}流过{x}。 | {x}在{v}边。"
    ),
    ("place", "known_for"): _both(
        "{x} is known for {v}. | {x} is famous for {v}.", "{x}的特产是{v}。 | {x}以{v}闻名。"
    ),
    ("place", "founded"): _both(
        "{x} was founded in {v}. | {x} was founded in the year {v}.", "{x}建于{v}年。 | {x}是{v}年建立的。"
    ),
    ("place", "mayor"): _both("{xs} mayor is {v}. | {v} governs {x}.", "{x}的长官是{v}。 | {v}是{x}的长官。"),
    ("animal", "colour"): _both("{x} is {v}. | {x} has {a_v} coat.", "{x}是{v}的。 | {xs}颜色是{v}。"),
    ("animal", "diet"): _both("{x} eats {v}. | {x} feeds on {v}.", "{x}吃{v}。 | {x}以{v}为食。"),
    ("animal", "habitat"): _both(
        "{x} lives {in_v}. | {x} makes its home {in_v}.", "{x}生活在{v}。 | {x}住在{v}。"
    ),
    ("animal", "legs"): _both(
        "{x} has {v} legs. | {x} walks on {v} legs.", "{x}有{v}条腿。 | {x}长着{v}条腿。"
    ),
    ("animal", "lifespan"): _both(
        "{x} lives for {v} years. | {x} lives {v} years.", "{x}能活{v}年。 | {xs}寿命是{v}年。"
    ),
    ("food", "taste"): _both("{x} tastes {v}. | {x} has {a_v} taste.", "{x}是{v}的。 | {xs}味道是{v}的。"),
    ("food", "colour"): _both("{x} is {v}. | {xs} colour is {v}.", "{x}是{v}的。 | {xs}颜色是{v}。"),
    ("food", "ingredient"): _both(
        "{x} is made from {v}. | {xs} main ingredient is {v}.", "{x}是用{v}做的。 | {x}的主要原料是{v}。"
    ),
    ("food", "origin"): _both(
        "{x} comes from {v}. | {x} was first made in {v}.", "{x}来自{v}。 | {x}的产地是{v}。"
    ),
    ("thing", "material"): _both(
        "{x} is made of {v}. | People make {x} of {v}.", "{x}是用{v}做的。 | {xs}材料是{v}。"
    ),
    ("thing", "use"): _both("{x} is used for {v}. | {x} is for {v}.", "{x}是用来{v}的。 | 人们用{x}{v}。"),
    ("thing", "colour"): _both("{x} is {v}. | {xs} colour is {v}.", "{x}是{v}的。 | {xs}颜色是{v}。"),
    ("thing", "maker"): _both(
        "{v} invented {x}. | {v} made the first {x}.", "{v}发明了{x}。 | {x}是{v}发明的。"
    ),
}
