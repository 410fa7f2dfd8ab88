from __future__ import annotations

import itertools
import re
import time
from collections import Counter
from random import Random

import pytest

from danlu.world.attributes import ATTRIBUTES
from danlu.world.encyclopaedia import entry, fact_sentences, factual_documents
from danlu.world.names import KINDS, LANGS, Kind, Lang
from danlu.world.patterns import fact_patterns
from danlu.world.real_facts import REAL_FACTS, real_fact_sentence, real_fact_text, real_wordings
from danlu.world.telling import teller
from danlu.world.truth import Path, World


@pytest.fixture(scope="module")
def world() -> World:
    return World.create(seed=3)


def _texts(world: World, lang: Lang, n: int, seed: int = 0) -> list[str]:
    return [text for _, text in itertools.islice(factual_documents(world, lang, Random(seed)), n)]


@pytest.mark.parametrize("lang", LANGS)
def test_the_same_seed_tells_the_same_documents(world: World, lang: Lang):
    again = World.create(seed=3)
    assert _texts(world, lang, 200) == _texts(again, lang, 200)
    assert _texts(world, lang, 200) != _texts(world, lang, 200, seed=1)


@pytest.mark.parametrize("lang", LANGS)
def test_every_fact_has_at_least_eight_statements_three_inverses_and_three_predicates(
    world: World, lang: Lang
):
    table = fact_patterns(lang)
    assert set(table) == {f"{kind}.{a}" for kind in KINDS for a in ATTRIBUTES[kind]}
    for key, patterns in table.items():
        assert len(patterns.statements) >= 8, key
        assert len(patterns.predicates) >= 3, key
        assert len(patterns.inverses) >= 3, key
        assert patterns.lists, key


@pytest.mark.parametrize("lang", LANGS)
def test_every_fact_is_told_in_at_least_eight_wordings_that_name_subject_and_value(world: World, lang: Lang):
    rng = Random(0)
    for fact in world.facts[::7]:
        wordings = {fact_sentences(world, fact, lang, rng) for _ in range(150)}
        assert len(wordings) >= 8
        subject = world.by_id[fact.subject].name.get(lang)
        value = world.value_text(fact.value, lang)
        for sentence in wordings:
            assert subject.lower() in sentence.lower()
            assert value.lower() in sentence.lower()


@pytest.mark.parametrize("lang", LANGS)
def test_no_slot_or_bracket_is_left_in_any_wording(world: World, lang: Lang):
    told, rng = teller(world, lang), Random(0)
    every: list[tuple[Kind, str]] = [(kind, a) for kind in KINDS for a in ATTRIBUTES[kind]]
    for kind, a in every:
        first = world.of_kind(kind)[0]
        sentences = [
            told.statement(first, a, rng, m) for _ in range(80) for m in ("name", "given", "pronoun")
        ]
        sentences += [told.inverse(first, a, rng) for _ in range(20)]
        sentences += [told.shared(world.of_kind(kind)[:n], a, rng) for n in (2, 3) for _ in range(10)]
        assert not [s for s in sentences if re.search(r"[{}\[\]|]", s)]


@pytest.mark.parametrize("lang", LANGS)
def test_documents_are_clean_and_in_one_language(world: World, lang: Lang):
    for text in _texts(world, lang, 3000):
        assert not re.search(r"[{}\[\]|]|  |\.\.|。。", text), text
        if lang == "en":
            assert text.isascii(), text
            assert not re.search(r"\b[Aa] [aeio]\w|\b[Aa]n [^aeiouhAEIOU]", text), text
            assert all(s[0].isupper() or s[0].isdigit() for s in re.split(r"(?<=[.?]) |\n+", text) if s), text
        else:
            assert not re.search(r"[a-z]{2}|[,.?!;:()]", text), text


@pytest.mark.parametrize("lang", LANGS)
def test_unknown_names_occur_in_no_document(world: World, lang: Lang):
    told = "\n".join(_texts(world, lang, 5000)).lower()
    for kind in KINDS:
        for index in range(100):
            assert world.unknown_name(kind, index).get(lang).lower() not in told


def test_both_languages_get_about_the_same_number_of_bytes_a_document(world: World):
    sizes = {lang: sum(len(t.encode()) for t in _texts(world, lang, 3000)) for lang in LANGS}
    assert 0.8 < sizes["en"] / sizes["zh"] < 1.25


@pytest.mark.parametrize("lang", LANGS)
def test_facts_are_told_about_equally_often(world: World, lang: Lang):
    told = "\n".join(_texts(world, lang, 6000))
    counts = Counter({p.id: told.count(p.name.get(lang)) for p in world.people})
    assert min(counts.values()) * 4 > max(counts.values())


@pytest.mark.parametrize("lang", LANGS)
def test_an_entry_names_its_subject_and_tells_several_of_its_facts(world: World, lang: Lang):
    person, rng = world.people[0], Random(0)
    values = {world.value_text(v, lang).lower() for v in person.attributes.values()}
    told = [sum(v in entry(world, person, lang, rng).lower() for v in values) for _ in range(60)]
    assert min(told) >= 2
    assert max(told) == len(values)


def test_pronouns_agree_with_the_person(world: World):
    told, rng = teller(world, "en"), Random(0)
    woman = next(p for p in world.people if p.sort == "f")
    said = " ".join(told.statement(woman, a, rng, "pronoun") for a in woman.attributes for _ in range(40))
    assert re.search(r"\b[Ss]he\b", said)
    assert not re.search(r"\b([Hh]e|[Hh]is|him)\b", said)


@pytest.mark.parametrize("lang", LANGS)
def test_two_facts_are_joined_only_in_combinations_of_the_training_split(world: World, lang: Lang):
    rng = Random(0)
    told = teller(world, lang)
    documents = factual_documents(world, lang, rng)
    notes = "\n".join(text for kind, text in itertools.islice(documents, 12_000) if kind == "note")
    splits = {"train": 0, "dev": 0, "exam": 0}
    for path in world.paths():
        phrase = told.phrase(path.subject, path.first)
        ends = [p.format_map(told._slots(path.middle, path.second, "name")) for p in _predicates(lang, path)]  # pyright: ignore[reportPrivateUsage]
        gap = " " if lang == "en" else ""
        splits[world.path_split(path)] += any(f"{phrase}{gap}{end}".lower() in notes.lower() for end in ends)
    assert splits["train"] > 100
    assert (splits["dev"], splits["exam"]) == (0, 0)


def _predicates(lang: Lang, path: Path) -> list[str]:
    key = f"{path.middle.kind}.{path.second}"
    return [wording for pattern in fact_patterns(lang)[key].predicates for wording in pattern]


@pytest.mark.parametrize("lang", LANGS)
def test_exam_entities_are_never_the_subject_of_a_direct_question(world: World, lang: Lang):
    told = "\n".join(_texts(world, lang, 6000))
    asked = dict.fromkeys(("train", "dev", "exam"), 0)
    for entity in world.entities:
        for spec in ATTRIBUTES[entity.kind].values():
            questions = [q.format(x=entity.name.get(lang)) for q in spec.questions[lang]]
            asked[world.entity_split(entity)] += any(q in told for q in questions)
    assert asked["train"] > 100
    assert (asked["dev"], asked["exam"]) == (0, 0)


def test_real_facts_are_the_real_ones():
    facts = {(f.topic, f.subject.en): f.value for f in REAL_FACTS}
    assert facts["capital", "France"].zh == "巴黎"
    assert facts["after_days", "Sunday"].en == "Monday"
    assert facts["opposite", "small"].en == "big"
    assert facts["symbol", "gold"].en == "Au"
    assert ("after_numbers", "twenty") not in facts


@pytest.mark.parametrize("lang", LANGS)
def test_every_real_topic_has_six_wordings_and_two_questions(lang: Lang):
    rng = Random(0)
    for topic in {f.topic for f in REAL_FACTS}:
        assert len(real_wordings(lang)[topic].statements) >= 6, topic
        assert len(real_wordings(lang)[topic].questions) >= 2, topic
    for fact in REAL_FACTS[::3]:
        assert len({real_fact_sentence(fact, lang, rng) for _ in range(80)}) >= 6
    assert all(not re.search(r"[{}\[\]|]", real_fact_text(lang, rng)) for _ in range(2000))


@pytest.mark.parametrize("lang", LANGS)
def test_documents_come_faster_than_a_megabyte_a_second(world: World, lang: Lang):
    documents = factual_documents(world, lang, Random(0))
    next(documents)
    start = time.process_time()
    size = sum(len(text.encode()) for _, text in itertools.islice(documents, 5000))
    assert size / (time.process_time() - start) > 1e6
