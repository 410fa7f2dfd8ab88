"""Questions about the world: one fact, two facts in a row, a pronoun for what was spoken of, and the unknown.

Exam questions of `facts` are about entities that no demonstration and no training prompt asks about, so a
right answer was read in the texts. `two_fact` holds out the combination.
"""

from __future__ import annotations

from functools import lru_cache
from random import Random

from danlu.world.attributes import ATTRIBUTES, Attribute
from danlu.world.names import KINDS, Kind, Lang, Name
from danlu.world.question import Draft, Gold, Message, assistant, user
from danlu.world.splits import Split, split_of, stable_hash
from danlu.world.statements import (
    by_name,
    by_pronoun,
    pronoun_of,
    question_about,
    statements,
    takes_pronoun,
)
from danlu.world.truth import Entity, Path, Ref, Value, World
from danlu.world.values import VALUES
from danlu.world.wording import pick

MAX_OTHERS = 60  # wrong values a gold carries at most; the graders' other rules catch the rest


def fact(world: World, lang: Lang, rng: Random) -> Draft | None:
    """'Where does Mira Tolen live?'"""
    entity = pick(rng, world.of_kind(pick(rng, KINDS)))
    attribute, value = pick(rng, list(entity.attributes.items()))
    split = world.entity_split(entity)
    if split != "exam" and _tells_of_another(world, value, split):
        return None
    pattern = pick(rng, ATTRIBUTES[entity.kind][attribute].questions[lang])
    mention = by_name(entity.kind, entity.name, lang)
    gold = value_gold(world, entity.kind, attribute, value, lang)
    gold["about"] = [entity.name.get(lang)]
    gold["replies"] = statements(entity.kind, attribute, world.value_name(value), mention, lang)
    return Draft(split, framed(question_about(pattern, mention), lang, rng), gold)


def two_facts(world: World, lang: Lang, rng: Random) -> Draft | None:
    """'Which river runs through the place where Mira Tolen lives?'"""
    path = pick(rng, _paths(world))
    split = _split_of_path(world, path)
    if split is None:
        return None
    patterns = ATTRIBUTES[path.middle.kind][path.second].questions[lang]
    pattern = pick(rng, [p for p in patterns if "{x}'s" not in p and "{x}家" not in p] or patterns)
    first = ATTRIBUTES[path.subject.kind][path.first]
    bare = path.subject.name.get(lang)
    if lang == "en" and path.subject.kind in ("animal", "thing") and "the {x}" not in first.phrase.en:
        bare = f"the {bare}"
    phrase = first.phrase.get(lang).replace("{x}", bare)
    prompt = pattern.replace("{x}", phrase)
    gold = value_gold(world, path.middle.kind, path.second, path.answer, lang)
    gold["about"] = [path.subject.name.get(lang)]
    gold["also"] = [path.middle.name.get(lang)]
    gold["replies"] = _two_step_replies(world, path, lang)
    return Draft(split, framed(prompt[0].upper() + prompt[1:], lang, rng), gold)


def reference(world: World, lang: Lang, rng: Random) -> Draft | None:
    """'What is her job?' after a turn about Mira Tolen, from memory or from what the user has just said."""
    return pick(rng, (_same_subject, _answer_as_subject, _told_subject, _told_subject))(world, lang, rng)


def unanswerable(world: World, lang: Lang, rng: Random) -> Draft | None:
    """'Where does Zorin Vale live?', of whom nobody has heard."""
    kind = pick(rng, KINDS)
    index = unknown_index(world, kind, rng)
    name = world.unknown_name(kind, index)
    attribute = pick(rng, list(ATTRIBUTES[kind].values()))
    mention = by_name(kind, name, lang)
    pattern = pick(rng, attribute.questions[lang])
    gold: Gold = {
        "rule": "unknown",
        "about": [name.get(lang)],
        "others": other_values(world, kind, attribute.name, None, lang),
        "replies": [reply.format(x=mention.x, bare=name.get(lang)) for reply in UNKNOWN[lang][kind]],
    }
    prompt = framed(question_about(pattern, mention), lang, rng)
    return Draft(split_of("unknown", kind, index), prompt, gold)


def framed(question: str, lang: Lang, rng: Random) -> str:
    """The question as it stands, or as part of a request."""
    if rng.random() < 0.6:
        return question
    return pick(rng, FRAMES[lang]).format(Q=question, q=question[0].lower() + question[1:])


def unknown_index(world: World, kind: Kind, rng: Random) -> int:
    """A number for `World.unknown_name`, small enough for every world; every fourth person is half known."""
    if kind != "person":
        return rng.randrange(160)
    if rng.random() < 0.25:
        return 4 * rng.randrange(min(100, len(world.names.stems("given")))) + 3
    return 4 * rng.randrange(100) + rng.randrange(3)


def told_name(world: World, kind: Kind, rng: Random) -> tuple[Name, str]:
    """A name met only in what the user says, with its sort; never one that `unanswerable` asks about."""
    index = 4 * rng.randrange(150, 400) if kind == "person" else rng.randrange(160, 360)
    coined = world.unknown(kind, index)
    return coined.name, coined.sort


def value_gold(world: World, kind: Kind, attribute: str, value: Value, lang: Lang) -> Gold:
    """What to accept as this value and what not; the caller adds who it is about and the replies."""
    if isinstance(value, int):
        return {"rule": "number", "number": value, "operands": [], "replies": []}
    text = world.value_text(value, lang)
    others = other_values(world, kind, attribute, value, lang)
    return {"rule": "value", "accept": spellings(text, lang), "others": others, "replies": []}


def spellings(text: str, lang: Lang) -> list[str]:
    """The value and what else people write for it: gray for grey, 红 for 红色."""
    if lang == "en":
        return [text, *ALIASES.get(text, ())]
    short = [f"{text[:-1]}的"] if text.endswith("色") else []
    return [text, *short, *ALIASES.get(text, ())]


def other_values(world: World, kind: Kind, attribute: str, value: Value | None, lang: Lang) -> list[str]:
    """Plausible wrong answers, at most `MAX_OTHERS`, chosen by hash so that they stay the same."""
    spec = ATTRIBUTES[kind][attribute]
    pool: list[Value] = [*VALUES[spec.pool]] if spec.pool in VALUES else [*world.values(kind, attribute)]
    texts = [world.value_text(other, lang) for other in pool if other != value and not isinstance(other, int)]
    texts.sort(key=lambda text: stable_hash("other", attribute, text, value))
    return texts[:MAX_OTHERS]


def _tells_of_another(world: World, value: Value, split: Split) -> bool:
    """Whether the answer would also answer a question about a person of another split: a friend's friend."""
    if not isinstance(value, Ref):
        return False
    other = world.by_id[value.id]
    return other.kind == "person" and world.entity_split(other) != split


@lru_cache(maxsize=4)
def _paths(world: World) -> tuple[Path, ...]:
    return tuple(world.paths())


def _split_of_path(world: World, path: Path) -> Split | None:
    """Where a combination may be asked; outside the exam nothing of an entity of another split is let out."""
    split = world.path_split(path)
    if split == "exam":
        return split
    entities = {world.entity_split(path.subject), world.entity_split(path.middle)}
    told = split if entities == {"train"} and not _tells_of_another(world, path.answer, "train") else None
    return told


def _two_step_replies(world: World, path: Path, lang: Lang) -> list[str]:
    """The way to the answer in one sentence; the answer alone is right as well."""
    subject = by_name(path.subject.kind, path.subject.name, lang)
    middle = by_name(path.middle.kind, path.middle.name, lang)
    first = statements(path.subject.kind, path.first, path.middle.name, subject, lang)[0]
    name = world.value_name(path.answer)
    last = statements(path.middle.kind, path.second, name, middle, lang)
    if lang == "zh":
        return [f"{first[:-1]}，{last[0]}", *last]
    lowered = last[0][0].lower() + last[0][1:] if last[0].startswith("The ") else last[0]
    return [f"{first[:-1]}, and {lowered}", *last]


def _same_subject(world: World, lang: Lang, rng: Random) -> Draft | None:
    """Two questions about one entity, the second with a pronoun."""
    entity = pick(rng, world.of_kind(pick(rng, KINDS)))
    asked, second = rng.sample(sorted(entity.attributes), 2)
    if isinstance(entity.attributes[asked], Ref) or asked == "river":
        return None
    before = _exchange(world, entity, asked, lang, rng)
    split = world.entity_split(entity)
    if split != "exam" and _tells_of_another(world, entity.attributes[second], split):
        return None
    return _by_pronoun(world, entity, second, lang, rng, (split, before))


def _answer_as_subject(world: World, lang: Lang, rng: Random) -> Draft | None:
    """A question whose answer the next question calls 'it'."""
    path = pick(rng, _paths(world))
    split = _split_of_path(world, path)
    same_sex = path.subject.kind == path.middle.kind and path.subject.sort == path.middle.sort
    if split is None or same_sex or path.second == "maker" or path.subject.kind in ("food", "thing"):
        return None
    before = _exchange(world, path.subject, path.first, lang, rng)
    return _by_pronoun(world, path.middle, path.second, lang, rng, (split, before))


def _exchange(
    world: World, entity: Entity, attribute: str, lang: Lang, rng: Random
) -> tuple[Message, Message]:
    """A question about the entity by name and its right answer."""
    pattern = pick(rng, ATTRIBUTES[entity.kind][attribute].questions[lang])
    mention = by_name(entity.kind, entity.name, lang)
    value = world.value_name(entity.attributes[attribute])
    reply = statements(entity.kind, attribute, value, mention, lang)[0]
    return user(question_about(pattern, mention)), assistant(reply)


def _by_pronoun(
    world: World,
    entity: Entity,
    attribute: str,
    lang: Lang,
    rng: Random,
    placed: tuple[Split, tuple[Message, ...]],
) -> Draft | None:
    """The question that follows the turns in `placed`."""
    patterns = [p for p in ATTRIBUTES[entity.kind][attribute].questions[lang] if takes_pronoun(p)]
    if not patterns:
        return None
    value, pronoun = entity.attributes[attribute], pronoun_of(entity, lang)
    gold = value_gold(world, entity.kind, attribute, value, lang)
    gold["about"] = [entity.name.get(lang)]
    name = world.value_name(value)
    named = by_name(entity.kind, entity.name, lang)
    both = [statements(entity.kind, attribute, name, m, lang)[0] for m in (named, pronoun)]
    # A pronoun reads well only as the subject: 'It lies in the north', not 'The Sull River runs through it'.
    gold["replies"] = both if both[1].lower().startswith((pronoun.x, pronoun.xs)) else both[:1]
    return Draft(placed[0], question_about(pick(rng, patterns), pronoun), gold, placed[1])


def _told_subject(world: World, lang: Lang, rng: Random) -> Draft | None:
    """The user tells two things about somebody new and asks about one of them with a pronoun."""
    kind: Kind = pick(rng, TELLABLE_KINDS)
    name, sort = told_name(world, kind, rng)
    told = rng.sample(TELLABLE[kind], 2)
    values = {a: made_up_value(world, ATTRIBUTES[kind][a], rng) for a in told}
    named, pronoun = by_name(kind, name, lang), by_pronoun(kind, sort, lang)
    asked = pick(rng, told)
    patterns = [p for p in ATTRIBUTES[kind][asked].questions[lang] if takes_pronoun(p)]
    sentences = [
        statements(kind, told[0], values[told[0]], named, lang)[0],
        statements(kind, told[1], values[told[1]], pronoun, lang)[0],
    ]
    gold = told_gold(world, kind, asked, values, lang)
    gold["about"] = [name.get(lang)]
    gold["replies"] = [statements(kind, asked, values[asked], m, lang)[0] for m in (pronoun, named)]
    before = (user((" " if lang == "en" else "").join(sentences)), assistant(pick(rng, NOTED[lang])))
    split = split_of("told", name.en, *(values[a].en for a in sorted(told)))
    return Draft(split, question_about(pick(rng, patterns), pronoun), gold, before)


def made_up_value(world: World, spec: Attribute, rng: Random) -> Name:
    """Some value that the attribute might have."""
    if spec.pool in VALUES:
        return pick(rng, VALUES[spec.pool][: world.size.values])
    if spec.pool == "place":
        return pick(rng, world.places).name
    numbers = {"age": (16, 79), "legs": (2, 8), "lifespan": (3, 40)}[spec.pool]
    number = str(rng.randint(*numbers))
    return Name(number, number)


def told_gold(world: World, kind: Kind, asked: str, values: dict[str, Name], lang: Lang) -> Gold:
    """The gold of a question about values that were just told, of which only `asked` is the answer."""
    value = values[asked]
    if value.en.isdigit():
        return {"rule": "number", "number": int(value.en), "operands": [], "replies": []}
    others = [text for text in other_values(world, kind, asked, None, lang) if text != value.get(lang)]
    others += [v.get(lang) for a, v in values.items() if a != asked]
    return {"rule": "value", "accept": spellings(value.get(lang), lang), "others": others, "replies": []}


ALIASES = {
    "grey": ("gray",),
    "golden": ("gold",),
    "面包师": ("面包师傅",),
    "老师": ("教师",),
    "农民": ("农夫",),
}
TELLABLE_KINDS: tuple[Kind, ...] = ("person", "person", "animal", "thing")
TELLABLE: dict[Kind, list[str]] = {
    "person": ["job", "home", "age", "favourite_colour", "instrument"],
    "animal": ["colour", "diet", "habitat", "lifespan"],
    "thing": ["material", "use", "colour"],
}
NOTED: dict[Lang, tuple[str, ...]] = {
    "en": ("Good to know.", "I see.", "Thank you for telling me.", "All right."),
    "zh": ("知道了。", "好的。", "谢谢你告诉我。", "我记住了。"),
}
FRAMES: dict[Lang, tuple[str, ...]] = {
    "en": ("Please tell me: {q}", "Can you tell me: {q}", "I would like to know: {q}", "A question: {q}"),
    "zh": ("请问，{Q}", "请告诉我：{Q}", "我想知道，{Q}", "问一下，{Q}"),
}
_SORT_EN = {
    "person": "anyone",
    "place": "a place",
    "animal": "an animal",
    "food": "a food",
    "thing": "a thing",
}
_SORT_ZH = {"person": "个人", "place": "个地方", "animal": "种动物", "food": "种食物", "thing": "种东西"}
UNKNOWN: dict[Lang, dict[Kind, list[str]]] = {
    "en": {
        kind: [
            f"I do not know {_SORT_EN[kind]} called {{bare}}.",
            "I have never heard of {x}.",
            "I do not know. I have never heard of {x}.",
            "Sorry, I do not know {x}.",
            "I don't know, because I know nothing about {x}.",
            "I cannot say. I do not know {x}.",
            "I am sorry, but I do not know that.",
            "I do not know. I have never heard of it.",
            "I don't know.",
            "Sorry, I do not know the answer.",
            "I cannot say, because I do not know it.",
        ]
        for kind in KINDS
    },
    "zh": {
        kind: [
            f"我不知道有{{x}}这{_SORT_ZH[kind]}。",
            "我没有听说过{x}。",
            "我不知道，我没听说过{x}。",
            "对不起，我不知道{x}。" if kind != "person" else "对不起，我不认识{x}。",
            "我不知道，因为我不了解{x}。",
            "这个我说不上来，我没听说过{x}。",
            "对不起，这个我不知道。",
            "我不知道，这个我没听说过。",
            "我不知道。",
            "抱歉，我不知道答案。",
            "这个我说不上来，因为我不知道。",
        ]
        for kind in KINDS
    },
}
