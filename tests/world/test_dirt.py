"""Dirt is what its label says: checksums that hold, text that can be restored, repetitions that are near."""

from __future__ import annotations

import re
from random import Random

import ftfy
import pytest

from danlu.world.dirt import (
    ITEMS,
    SHARES,
    Record,
    bank_card,
    duplicate,
    junk,
    luhn_check,
    mobile,
    mojibake,
    nearly,
    resident_id,
    resident_id_check,
    spoil,
)
from danlu.world.wording import Lang

TEXT: dict[Lang, str] = {
    "en": "Mira lives in Lowick. She is very kind, and everybody likes her. But she wanted to go far away.",
    "zh": "米娜住在洛威镇。她非常善良，大家都喜欢她。可是她想到很远的地方去。",
}


def record(lang: Lang) -> Record:
    return {"text": TEXT[lang], "lang": lang, "kind": "story", "id": "x-1", "dirt": None, "of": None}


def test_check_characters_of_published_examples():
    assert resident_id_check("11010519491231002") == "X"  # the example of GB 11643-1999
    assert resident_id_check("44052418800101001") == "4"  # its other example
    assert luhn_check("7992739871") == "3"  # the example of ISO/IEC 7812-1


def test_resident_ids_and_cards_pass_their_checksums():
    rng = Random(0)
    for _ in range(300):
        number = resident_id(rng)
        assert re.fullmatch(r"\d{6}(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d)\d{3}[\dX]", number)
        assert resident_id_check(number[:17]) == number[17]
        card = bank_card(rng).replace(" ", "")
        digits = [int(d) for d in reversed(card)]
        doubled = [d * 2 - 9 * (d > 4) if i % 2 else d for i, d in enumerate(digits)]
        assert sum(doubled) % 10 == 0
        assert len(card) == 16
        assert re.fullmatch(r"1[3-9]\d{9}", mobile(rng).replace("-", ""))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_private_items_stand_in_the_text_and_masking_restores_the_rest(lang: Lang):
    rng = Random(1)
    for _ in range(100):
        spoilt = spoil(rng, record(lang), "private_data")
        assert spoilt["private"]
        assert all(item in spoilt["text"] for item in spoilt["private"])
        assert all(part in spoilt["text"].split("\n") for part in TEXT[lang].split("\n"))


def test_every_kind_of_private_item_occurs():
    rng = Random(2)
    assert {kind: bool(make(rng)) for kind, make in ITEMS.items()} == dict.fromkeys(ITEMS, True)


def test_latin1_mojibake_can_be_undone_and_gbk_is_lost():
    rng, restored = Random(3), 0
    for _ in range(200):
        spoilt = mojibake(rng, "zh", TEXT["zh"])
        assert spoilt != TEXT["zh"]
        restored += ftfy.fix_text(spoilt).replace(",", "，") == TEXT["zh"]
    assert 80 < restored < 160


def test_english_mojibake_shows_its_marks():
    rng = Random(4)
    for _ in range(50):
        assert re.search("[âÃ\ufffd]", mojibake(rng, "en", TEXT["en"]))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_near_duplicates_differ_and_stay_near(lang: Lang):
    rng = Random(5)
    for _ in range(100):
        other = nearly(rng, lang, TEXT[lang])
        assert other != TEXT[lang]
        kept = set(TEXT[lang]) & set(other)
        assert len(kept) / len(set(TEXT[lang])) > 0.8


def test_duplicates_name_their_original():
    twin = duplicate(Random(0), record("en"), "exact_duplicate")
    assert (twin["text"], twin["of"], twin["dirt"]) == (TEXT["en"], "x-1", "exact_duplicate")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_markup_keeps_the_words(lang: Lang):
    rng = Random(6)
    for _ in range(60):
        spoilt = spoil(rng, record(lang), "markup")["text"]
        assert re.search(r"<\w+|\[\[|\{\{|==", spoilt)
        bare = re.sub(r"<[^>]*>|[\s'={}\[\]]|&\w+;|&#\d+;", "", spoilt)
        assert re.sub(r"\s", "", TEXT[lang])[:12] in bare.replace("__NOTOC__", "")


def test_advertisements_and_junk_keep_nothing_of_the_text():
    rng = Random(7)
    for lang in TEXT:
        for dirt in ("advertisement", "junk"):
            assert TEXT[lang][:10] not in spoil(rng, record(lang), dirt)["text"]
    assert junk(rng, "en", TEXT["en"])


def test_shares_of_dirt_add_up_to_a_hundred():
    assert sum(SHARES.values()) == 100
