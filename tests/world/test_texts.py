"""What the texts of the world say: nothing untrue, nothing that the exam holds out, in many wordings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random

import pytest

from danlu.world import encyclopaedia
from danlu.world.cast import Cast
from danlu.world.corpus import SHARE_OF_BYTES, WRITERS, preview
from danlu.world.dialogues import open_entities
from danlu.world.exercises import plain
from danlu.world.newcomers import stranger
from danlu.world.parallel import FACTS as FACTS_IN_PAIRS
from danlu.world.parallel import FORMS, sentence_pair
from danlu.world.patterns import (
    advice,
    arithmetic,
    judgements,
    letters,
    pairs,
    plots_en,
    plots_zh,
    talk,
    tasks,
)
from danlu.world.patterns.pairs import DEEDS, SUBJECTS
from danlu.world.splits import split_of, sum_split
from danlu.world.stories import answerable, plots, setting
from danlu.world.sums import Step, expression, steps_from
from danlu.world.truth import Entity, World
from danlu.world.wording import Lang, lines, multiply_out, sections

LANGS: tuple[Lang, Lang] = ("en", "zh")
WORLD = World.create(0)
CASTS = {lang: Cast(WORLD, lang) for lang in LANGS}


def written(kind: str, lang: Lang, n: int, seed: int = 5) -> list[str]:
    rng = Random(seed)
    return [WRITERS[kind](CASTS[lang], rng) for _ in range(n)]


def test_alternatives_multiply_out_in_order():
    assert multiply_out("a [b|c] d[|e].") == ("a b d.", "a b de.", "a c d.", "a c de.")
    assert lines("\n  one\n\n  [two|2]\n") == (("one",), ("two", "2"))
    assert sections("= first\nx\n= second\ny\nz\n") == {"first": (("x",),), "second": (("y",), ("z",))}


def test_brackets_stand_where_multiplication_follows_addition():
    assert expression([Step(3, "+", 4, 7), Step(7, "×", 2, 14)]) == "(3 + 4) × 2"
    assert expression([Step(3, "×", 4, 12), Step(12, "−", 2, 10)]) == "3 × 4 − 2"


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("kind", WRITERS)
def test_no_slot_or_alternative_is_left_in_a_text(kind: str, lang: Lang):
    for text in written(kind, lang, 400):
        assert not re.search(r"[{}\[\]]|  [a-z]", text)
        assert text == text.strip()


@pytest.mark.parametrize("lang", LANGS)
def test_every_written_sum_is_right_and_none_is_of_the_exam(lang: Lang):
    signs: dict[str, tuple[str, Callable[[int, int], int]]] = {
        "+": ("+", int.__add__),
        "−": ("-", int.__sub__),
        "×": ("*", int.__mul__),
    }
    found = 0
    for text in written("sums", lang, 3000):
        for left, sign, right, result in re.findall(
            r"(?<![\d(+−×] )(?<!\d)(\d+) ([+−×]) (\d+) = (\d+)", text
        ):
            operator, apply = signs[sign]
            assert apply(int(left), int(right)) == int(result), text
            assert sum_split(int(left), operator, int(right)) != "exam"
            found += 1
    assert found > 5000


def test_no_step_of_any_size_is_held_out():
    for largest in (20, 100):
        steps = [step for row in steps_from(largest) for step in row]
        assert all(0 <= step.result <= largest for step in steps)
        assert {step.sign for step in steps} == {"+", "−", "×"}


def test_sentences_of_the_exam_are_never_translated_in_a_text():
    rng = Random(3)
    held_out = {
        p
        for p in (sentence_pair(CASTS["en"], rng) for _ in range(3000))
        if split_of("sentence", p.en) == "exam"
    }
    assert len(held_out) > 500
    told = "\n".join(text for lang in LANGS for text in written("parallel", lang, 1500))
    # A short sentence may be the tail of a longer one ("You sing." in "Do you sing."), so both must occur.
    assert not [p for p in held_out if f'"{p.en}"' in told and f'"{p.zh}"' in told]


def test_both_sides_of_a_pair_stand_in_the_same_document():
    for text in written("parallel", "en", 300):
        assert re.search("[a-z]{2}", text)
        assert re.search("[\u4e00-\u9fff]", text)


def test_exam_rewritings_are_never_written_out():
    told = "\n".join(written("exercise", "en", 3000))
    capitals = {plain("en", who, deed).upper(): (who, deed) for who in SUBJECTS for deed in DEEDS}
    found = [capitals[text] for text in re.findall(r"\b[A-Z][A-Z ]+\.", told) if text in capitals]
    assert len(found) > 300
    assert "exam" not in {split_of("rewriting", "dress", who.en, deed.base) for who, deed in found}


FACTS: Mapping[Lang, Mapping[str, str]] = {
    "en": {
        "job": r"{x}(?:, | is | is \d+ years old and works as )an? ([a-z]+)(?: from|, lives| in|\.)",
        "home": r"{x}(?:, an? [a-z]+,|, who is \d+ years old,)? lives in (\w+)",
        "age": r"{x}(?:, who)? is (\d+) years old",
        "pet": r"{x} lives in \w+ with an? (\w+)\.",
        "instrument": r"{x} plays the (\w+) and",
    },
    "zh": {
        "job": r"{x}(?:是\w+的一位|住在\w+，是一位|今年\d+岁，是一位)(\w+)[。，]",
        "home": r"{x}(?:住在|是)(\w+?)(?:，|的一位)",
        "age": r"{x}今年(\d+)岁",
        "pet": r"{x}住在\w+，家里养了一只(\w+?)。",
        "instrument": r"{x}会\w(\w+?)，家住",
    },
}


@pytest.mark.parametrize("lang", LANGS)
def test_stories_agree_with_the_world(lang: Lang):
    told, checked = "\n".join(written("story", lang, 3000)), dict.fromkeys(FACTS[lang], 0)
    for person in WORLD.people:
        for attribute, pattern in FACTS[lang].items():
            for value in re.findall(pattern.replace("{x}", re.escape(person.name.get(lang))), told):
                assert value == truth(person, attribute, lang), (person.name, attribute)
                checked[attribute] += 1
    assert min(checked.values()) > 100


@pytest.mark.parametrize("lang", LANGS)
def test_letters_and_advice_agree_with_the_world(lang: Lang):
    letters_ = "\n".join(written("letter", lang, 1500))
    advice_ = "\n".join(written("howto", lang, 1500))
    found = 0
    for animal in WORLD.animals:
        name = animal.name.get(lang)
        pattern = rf"The {name} eats (\w+)," if lang == "en" else rf"{name}吃(\w+?)，所以"
        for value in re.findall(pattern, advice_):
            assert value == truth(animal, "diet", lang)
            found += 1
    for place in WORLD.places:
        name = place.name.get(lang)
        pattern = (
            rf"went to {name} and bought some (\w+)" if lang == "en" else rf"去了{name}，买了一些(\w+?)，"
        )
        for value in re.findall(pattern, letters_):
            assert value == truth(place, "known_for", lang)
            found += 1
    assert found > 200


def truth(entity: Entity, attribute: str, lang: Lang) -> str:
    return WORLD.value_text(entity.attributes[attribute], lang)


@pytest.mark.parametrize("lang", LANGS)
def test_a_story_is_only_asked_what_it_says(lang: Lang):
    rng = Random(0)
    plot = next(p for p in plots(lang) if p.name == "market")
    slots = setting(CASTS[lang], plot, rng)
    about_river = [
        q for q, _ in answerable(plot, slots, f"{slots['place']} {slots['a_1']}") if "River" in q or "河" in q
    ]
    assert not about_river
    told = f"{slots['place']} {slots['river']} {slots['product']} {slots['a_1']}"
    assert len(answerable(plot, slots, told)) == 3


@pytest.mark.parametrize("lang", LANGS)
def test_he_and_she_are_never_in_doubt(lang: Lang):
    rng = Random(1)
    for _ in range(200):
        first, second = CASTS[lang].two(rng)
        assert first.entity.sort != second.entity.sort


def test_dialogues_ask_about_the_training_split_only():
    assert {WORLD.entity_split(entity) for entity in open_entities(WORLD)} == {"train"}


def test_strangers_are_nobody_and_not_the_exams_unknown():
    rng = Random(2)
    strangers = {stranger(CASTS["en"], rng).name for _ in range(3000)}
    of_the_exam = {WORLD.unknown_name("person", i) for i in range(600)}
    of_the_exam |= {WORLD.unknown_name("person", 4 * i) for i in range(150, 400)}
    assert not strangers & {person.name for person in WORLD.people}
    assert not strangers & of_the_exam


def test_texts_of_a_seed_are_the_same_every_time():
    for kind in WRITERS:
        assert written(kind, "zh", 20, seed=9) == written(kind, "zh", 20, seed=9)


def test_preview_shows_every_kind():
    kinds = {kind for kind, share in SHARE_OF_BYTES.items() if share}
    for lang in LANGS:
        assert {record["kind"] for record in preview(WORLD, lang, 400)} == kinds


def patterns_of_plots(module: object) -> int:
    block = module.PLOTS
    rows = [row for row in block.splitlines() if ":" in row]
    return len(rows) + sum(len(getattr(module, name)) for name in ("OPENINGS", "TIMES", "BETWEEN", "ENDINGS"))


def count(table: object) -> int:
    if isinstance(table, Mapping):
        return sum(count(part) for part in table.values())
    return len(table) if isinstance(table, tuple) else 0


def tables_of(module: object, lang: Lang) -> int:
    return sum(count(v[lang]) for v in vars(module).values() if isinstance(v, dict) and set(v) == set(LANGS))


def test_there_are_hundreds_of_patterns_in_each_language():
    for lang in LANGS:
        n = {
            "story": patterns_of_plots(plots_en if lang == "en" else plots_zh),
            "sums": tables_of(arithmetic, lang),
            "parallel": tables_of(pairs, lang) + len(pairs.LABELS) + len(set(FORMS)) + len(FACTS_IN_PAIRS),
            "facts": sum(len(p.statements) for p in encyclopaedia.teller(WORLD, lang).patterns.values()),
        }
        for kind, module in (
            ("letter", letters),
            ("howto", advice),
            ("review", judgements),
            ("exercise", tasks),
        ):
            n[kind] = count(getattr(module, lang.upper()))
        n["dialogue"] = count(talk.EN if lang == "en" else talk.ZH) + tables_of(talk, lang)
        assert min(n.values()) >= 40, n
        assert sum(n.values()) >= 700, n
