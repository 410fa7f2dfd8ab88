"""A user's own text: how much of each path is read, and what is refused."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from danlu.config import ConfigError, build
from danlu.data.records import DataError
from danlu.data.sources import Document
from danlu.recipes.own_text import Mixed, OwnText, SourcesConfig, allotted, evenly, over_all, references
from danlu.recipes.plan import corpus_bytes, vocabulary_for
from danlu.recipes.run import RunConfig, run
from danlu.world.corpus import preview
from danlu.world.truth import World, WorldSize

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def write(path, texts, field="text"):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({field: text}, ensure_ascii=False) for text in texts)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def sentence(number):
    """A different sentence of English words for each number."""
    digits = [int(digit) for digit in str(number * 7919 + 10_000)]
    return "The " + " and the ".join(WORDS[digit] for digit in digits) + f" met at noon on day {number}."


def test_equal_parts_of_a_total_and_what_one_lacks_the_others_give():
    assert allotted({"a": 10, "b": 100, "c": 100}, 90) == {"a": 10, "b": 40, "c": 40}
    assert allotted({"a": 50, "b": 50}, 30) == {"a": 15, "b": 15}
    assert allotted({"a": 5, "b": 6}, 100) == {"a": 5, "b": 6}


def test_a_share_is_taken_from_all_of_a_stream_alike():
    stream = [Document(chr(97 + i % 26) * 10) for i in range(100)]
    kept = list(evenly(stream, 0.25))
    assert len(kept) == 25
    places = [i for i, document in enumerate(stream) if any(document is each for each in kept)]
    assert {second - first for first, second in pairwise(places)} == {4}
    assert list(evenly(stream, 1.0)) == stream
    assert list(evenly(stream, 0.0)) == []


def test_sizes_count_bytes_of_the_named_field_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_DATA", str(tmp_path))
    write(tmp_path / "plain" / "open.jsonl", ["天", "ab"])
    write(tmp_path / "lists" / "open.jsonl", [["x" * 600, "y" * 600]], field="modern")
    config = SourcesConfig(
        path=(Path("plain"), Path("lists")), fields={"lists": "modern"}, max_bytes=1000, world_share=0.75
    )
    own = OwnText(config)
    assert own.sizes == {Path("plain"): 5, Path("lists"): 1000}
    assert own.planned_bytes == 4020  # a quarter of it is the user's


def test_without_a_path_there_is_no_own_text_to_plan_for():
    assert OwnText(SourcesConfig()).planned_bytes is None


def test_text_that_cannot_be_divided_is_an_error(tmp_path):
    write(tmp_path / "texts" / "a.jsonl", [sentence(1)])
    own = OwnText(SourcesConfig(path=(tmp_path / "texts",)))
    with pytest.raises(DataError, match=r"texts: after cleaning one document is left; there must be two"):
        own.write_clean(tmp_path / "raw", tmp_path / "clean", 1000)


def test_one_long_file_is_cut_so_that_part_of_it_is_held_out(tmp_path):
    texts = [record["text"] for record in preview(World.create(5, WorldSize.for_bytes(100_000)), "en", 500)]
    (tmp_path / "book.txt").write_text("\n".join(texts), encoding="utf-8")
    own = OwnText(SourcesConfig(path=(tmp_path / "book.txt",)))
    own.write_clean(tmp_path / "raw", tmp_path / "clean", 10**6)
    train, held_out = (
        [json.loads(line)["text"] for line in (tmp_path / "clean" / name).read_text("utf-8").splitlines()]
        for name in ("train.jsonl", "held_out.jsonl")
    )
    assert held_out
    assert len(train) + len(held_out) >= 5
    assert not set(train) & set(held_out)


def test_references_are_measured_by_language_and_over_all_bytes(tmp_path):
    (tmp_path / "clean").mkdir()
    for name, numbers in (("train.jsonl", range(300)), ("held_out.jsonl", range(300, 320))):
        records = [{"text": sentence(n), "lang": "en"} for n in numbers]
        records += [{"text": "山水" * 9 + f"第{n}日。", "lang": "zh"} for n in numbers]
        (tmp_path / "clean" / name).write_text(
            "".join(json.dumps(r) + "\n" for r in records), encoding="utf-8"
        )
    found = references(tmp_path / "clean")
    assert list(found) == ["xz -9", "xz -9 after 8 MB of the training text", "byte 5-gram"]
    for rates in found.values():
        assert min(rates["en"], rates["zh"]) < rates["all"] < max(rates["en"], rates["zh"])
    alone, primed, counted = found.values()
    assert primed["en"] < alone["en"]
    assert counted["en"] < 2.5


def test_a_rate_over_all_weighs_by_bytes():
    assert over_all({"en": 1.0, "zh": 2.0}, {"en": ["a" * 6], "zh": ["天"]})["all"] == pytest.approx(4 / 3)


def test_the_world_beside_own_text_writes_its_share_but_never_too_little():
    own = OwnText(SourcesConfig(path=(Path("texts"),), world_share=0.25))
    mixed = Mixed(own, 8_000_000, None, 0, exam_per_cell=1)  # type: ignore[arg-type]
    assert (mixed.world_bytes, mixed.own_bytes) == (2_000_000, 6_000_000)
    assert Mixed(own, 100_000, None, 0, exam_per_cell=1).world_bytes == 1_000_000  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"demonstrations": ["a"], "path": ["t"]}, "data.*demonstrations are set but comparisons are not"),
        ({"comparisons": ["a"]}, "comparisons are set but demonstrations are not"),
        ({"demonstrations": ["a"], "comparisons": ["b"]}, "path is empty; where demonstrations are set"),
        ({"path": ["t"], "fields": {"u": "body"}}, r"fields names \['u'\]; its keys must be among path"),
        ({"path": ["t"], "world_share": 1}, r"world_share is 1\.0; it must be above 0 and below 1"),
        ({"held_out": 0}, r"held_out is 0\.0; it must be above 0 and below 1"),
        ({"max_len": 600}, "max_len is 600 and max_new_tokens 64; .* the first at most 512"),
        ({"max_len": 64}, "max_len is 64 and max_new_tokens 64; the second must be less than the first"),
    ],
)
def test_impossible_sources_are_refused(tree, message):
    with pytest.raises(ConfigError, match=message):
        build(RunConfig, {"data": tree})


def test_a_mistake_in_any_file_shows_before_anything_is_written(tmp_path):
    write(tmp_path / "texts" / "a.jsonl", map(sentence, range(9)))
    chats = tmp_path / "chats.jsonl"
    chats.write_text('{"prompt": "a", "response": "b"}\n{"prompt": "a"}\n', encoding="utf-8")
    files = SourcesConfig(path=(tmp_path / "texts",), demonstrations=(chats,), comparisons=(chats,))
    with pytest.raises(DataError, match=r"chats\.jsonl:2: has fields \['prompt'\], which is no chat"):
        run(RunConfig(out=tmp_path / "run", data=files))
    with pytest.raises(DataError, match="nowhere: does not exist"):
        run(RunConfig(out=tmp_path / "run", data=SourcesConfig(path=(tmp_path / "nowhere",))))
    assert not (tmp_path / "run").exists()


def test_time_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="minutes is 1; it must be between 2 and 600"):
        RunConfig(minutes=1)


def test_the_kind_of_source_follows_from_what_is_named():
    assert SourcesConfig().kind == "world"
    assert SourcesConfig(path=(Path("t"),)).kind == "mixed"
    files = SourcesConfig(path=(Path("t"),), demonstrations=(Path("d"),), comparisons=(Path("c"),))
    assert files.kind == "files"


def test_a_plan_reads_existing_text_once_and_gives_it_a_vocabulary_by_its_size():
    assert corpus_bytes(1_000_000, 3_000_000) == 3_000_000
    assert corpus_bytes(1_000_000, 90_000_000) == 4_000_000
    assert [vocabulary_for(n) for n in (1_000_000, 50_000_000, 500_000_000)] == [4096, 8192, 16384]
