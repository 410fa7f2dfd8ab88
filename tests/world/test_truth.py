from __future__ import annotations

import itertools
from collections import Counter

import pytest

from danlu.config import ConfigError
from danlu.world.attributes import ATTRIBUTES
from danlu.world.names import KINDS, LANGS, Lang, article, plural
from danlu.world.truth import Fact, Ref, World, WorldSize

LARGE = WorldSize(people=1000, places=330, animals=330, foods=330, things=330, values=40)


@pytest.fixture(scope="module")
def world() -> World:
    return World.create(seed=5)


def test_a_seed_makes_the_same_world_every_time(world: World):
    again = World.create(seed=5)
    assert again.facts == world.facts
    assert [e.name for e in again.entities] == [e.name for e in world.entities]


def test_another_seed_makes_another_world(world: World):
    other = World.create(seed=6)
    assert other.facts != world.facts
    assert {e.name for e in other.people}.isdisjoint(e.name for e in world.people)


def test_the_default_world_has_672_facts(world: World):
    # 48 people x 8, 16 places x 5, 16 animals x 5, 16 foods x 4, 16 things x 4
    assert len(world.facts) == 48 * 8 + 16 * (5 + 5 + 4 + 4)


@pytest.mark.parametrize("size", [WorldSize(), LARGE])
@pytest.mark.parametrize("lang", LANGS)
def test_no_name_begins_with_another(size: WorldSize, lang: Lang):
    world = World.create(1, size)
    names = sorted(e.name.get(lang) for e in world.entities)
    assert not [(a, b) for a, b in itertools.pairwise(names) if b.startswith(a)]


@pytest.mark.parametrize("size", [WorldSize(), LARGE])
def test_unknown_names_are_all_different_and_nowhere_in_the_world(size: WorldSize):
    world = World.create(2, size)
    for lang in LANGS:
        known = {e.name.get(lang) for e in world.entities}
        for kind in KINDS:
            unknown = [world.unknown_name(kind, i).get(lang) for i in range(160)]
            assert len(set(unknown)) == 160
            assert not [(u, k) for u in unknown for k in known if u in k or k in u]


def test_every_fourth_unknown_person_combines_names_that_do_occur(world: World):
    given = {e.name.en.split()[0] for e in world.people}
    family = {e.name.en.split()[1] for e in world.people}
    for index in range(40):
        first, last = world.unknown_name("person", index).en.split()
        assert (first in given, last in family) == (index % 4 == 3, index % 4 == 3)


def test_the_given_name_tells_he_from_she_in_both_languages(world: World):
    female = {e.name.zh.split("·")[0][-1] for e in world.people if e.sort == "f"}
    male = {e.name.zh.split("·")[0][-1] for e in world.people if e.sort == "m"}
    assert female
    assert male
    assert female.isdisjoint(male)


def test_friendship_holds_both_ways_and_mayors_live_where_they_govern(world: World):
    for person in world.people:
        friend = world.by_id[_id(person.attributes["friend"])]
        assert friend.attributes["friend"] == Ref(person.id)
    for place in world.places:
        mayor = world.by_id[_id(place.attributes["mayor"])]
        assert mayor.attributes["home"] == Ref(place.id)


def test_values_are_dealt_evenly(world: World):
    jobs = Counter(p.attributes["job"] for p in world.people)
    assert set(jobs.values()) == {4}  # 48 people, 12 jobs


def test_holders_invert_facts(world: World):
    for fact in world.facts:
        subject = world.by_id[fact.subject]
        assert subject in world.holders(subject.kind, fact.attribute, fact.value)


def test_every_attribute_has_four_questions_in_each_language_that_name_the_subject():
    for table in ATTRIBUTES.values():
        for spec in table.values():
            for lang in LANGS:
                assert len(set(spec.questions[lang])) >= 4
                assert all("{x}" in q for q in spec.questions[lang])


def test_paths_follow_two_facts_and_never_come_back_to_their_start(world: World):
    for path in world.paths():
        assert path.subject.attributes[path.first] == Ref(path.middle.id)
        assert path.middle.attributes[path.second] == path.answer
        assert path.answer != Ref(path.subject.id)


def test_splits_do_not_depend_on_the_order_of_asking(world: World):
    again = World.create(seed=5)
    splits = [world.entity_split(e) for e in world.entities]
    assert [again.entity_split(e) for e in reversed(again.entities)] == splits[::-1]
    assert set(splits) == {"train", "dev", "exam"}


def test_value_text_gives_names_numbers_and_referred_entities(world: World):
    person = world.people[0]
    assert world.value_text(34, "zh") == "34"
    assert world.value_text(Ref(person.id), "en") == person.name.en
    assert world.attribute(Fact(person.id, "job", person.attributes["job"])).noun.zh == "职业"


def test_the_world_grows_with_the_text_and_stays_tiny_at_first():
    assert WorldSize.for_bytes(1_000_000) == WorldSize()
    assert WorldSize.for_bytes(1_000_000_000).people > 1000


def test_an_odd_number_of_people_is_an_error():
    with pytest.raises(ConfigError, match=r"world\.people is 7; it must be an even number"):
        WorldSize(people=7)


def test_more_unknown_names_than_there_are_is_an_error(world: World):
    with pytest.raises(ValueError, match="unused animal names"):
        world.unknown_name("animal", 10_000)


def test_articles_and_plurals():
    assert [article(w) for w in ("apple", "baker", "unicorn", "eskop")] == ["an", "a", "a", "an"]
    assert [plural(w) for w in ("morrin", "gash", "pony", "nix")] == ["morrins", "gashes", "ponies", "nixes"]


def _id(value: object) -> str:
    assert isinstance(value, Ref)
    return value.id
