from __future__ import annotations

import json

import pytest

from danlu.config import ConfigError
from danlu.data.account import Account
from danlu.data.pipeline import CleaningConfig, clean, write_clean
from danlu.data.records import DataError
from danlu.data.shards import open_shards
from danlu.data.sources import Document, documents, files
from danlu.data.tokenized import tokenize_documents
from danlu.world.corpus import write_corpus
from danlu.world.truth import World, WorldSize

CLEAN = [
    Document("The cat sleeps on the mat and the dog sleeps beside it.", "a.txt", 1),
    Document("猫睡在垫子上，狗睡在它旁边，谁也不说话。", "a.txt", 2),
    Document("Call me at 13812345678 before the sun goes down.", "a.txt", 3),
]


def numbered(n=200):
    """Different documents in two languages."""
    words = ["red", "blue", "green", "white", "black", "brown", "grey"]
    for i in range(n):
        name = "".join(words[(i // 7**k) % 7] for k in range(4))
        if i % 2:
            yield Document(f"The house of {name} has {i} windows and {name} likes {i * i} cakes.", "b.txt", i)
        else:
            yield Document(f"{name}的房子有{i}扇窗户，{name}喜欢吃{i * i}块蛋糕。", "b.txt", i)


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_drop_is_counted_under_its_rule_with_its_bytes_and_an_example():
    account = Account()
    junk = Document("lrfbw mdl rw lpfgwxq gzwmphcsg", "a.txt", 4)
    shouted = Document(CLEAN[0].text.upper(), "a.txt", 5)
    kept = list(clean([*CLEAN, junk, shouted], CleaningConfig(), account))
    assert [document.text for document in kept] == [
        CLEAN[0].text,
        CLEAN[1].text,
        "Call me at <phone> before the sun goes down.",
    ]
    assert [document.lang for document in kept] == ["en", "zh", "en"]
    assert {rule: (tally.documents, tally.bytes) for rule, tally in account.dropped.items()} == {
        "gibberish": (1, 30),
        "exact duplicate": (1, 55),
    }
    assert account.dropped["gibberish"].examples == [junk.text]
    assert account.masked == {"phone": 1}
    assert account.read["a.txt"].documents == 5


def test_no_private_data_reaches_the_account_of_what_was_dropped():
    account = Account()
    spam = Document("限时抢购！！！加微信：wang123456，电话13812345678，点击 www.abc.com 下单", "a.txt", 1)
    list(clean([*CLEAN, spam], CleaningConfig(), account))
    assert account.dropped["advertisement"].documents == 1
    assert "13812345678" not in json.dumps(account.to_tree(), ensure_ascii=False)


def test_a_page_of_clutter_goes_and_a_page_around_a_text_leaves_the_text():
    account = Account()
    page = "Home | News | Shop | Log in\n{}\nAll rights reserved."
    pages = [Document(page.format(""), "a", 1), Document(page.format(CLEAN[0].text), "a", 2)]
    assert [document.text for document in clean(pages, CleaningConfig(), account)] == [CLEAN[0].text]
    assert account.dropped["boilerplate"].documents == 1
    assert account.mended["boilerplate"].documents == 2


def test_lines_that_come_again_and_again_can_be_taken_out():
    texts = [
        f"Welcome to our friendly little site.\nThis is story number {i}, about cat {i}." for i in range(4)
    ]
    stream = clean([Document(text) for text in texts], CleaningConfig(repeated_lines=2), Account())
    assert [document.text.count("\n") for document in stream] == [1, 1, 0, 0]


def test_training_and_held_out_texts_are_apart_and_each_language_is_held_out(tmp_path):
    write_clean(numbered(), tmp_path, CleaningConfig(held_out=0.001))
    train, held_out = (read(tmp_path / f"{name}.jsonl") for name in ("train", "held_out"))
    assert sorted(record["lang"] for record in held_out) == ["en", "zh"]
    assert len(train) + len(held_out) == 200
    assert not {record["text"] for record in train} & {record["text"] for record in held_out}
    account = json.loads((tmp_path / "account.json").read_text())
    assert account["kept"]["held_out zh"]["documents"] == 1


def test_every_dropped_document_is_written_down_with_its_rule_and_without_private_data(tmp_path):
    texts = [
        *CLEAN,
        Document("lrfbw mdl rw lpfgwxq gzwmphcsg", "a.txt", 4),
        Document(CLEAN[0].text.upper(), "a.txt", 5),
        Document("限时抢购！！！加微信：wang123456，电话13812345678，点击 www.abc.com 下单", "a.txt", 6),
        Document(CLEAN[0].text + " It has been a long day for all of them in the old house.", "b.txt", 7),
        Document(CLEAN[0].text + " It has been a long day for all of them in the old house!!!", "b.txt", 8),
    ]
    write_clean(texts, tmp_path, CleaningConfig(dropped_chars=20))
    dropped = {row["line"]: row for row in read(tmp_path / "dropped.ndjson")}
    assert {line: (row["rule"], row.get("of")) for line, row in dropped.items()} == {
        4: ("gibberish", None),
        5: ("exact duplicate", None),
        6: ("advertisement", None),
        8: ("near duplicate", "b.txt:7"),
    }
    assert dropped[5]["text"] == CLEAN[0].text.upper()[:20]
    assert dropped[5]["n_chars"] == len(CLEAN[0].text)
    assert "1381" not in dropped[6]["text"]
    assert [each.suffix for each in files(tmp_path)] == [".jsonl", ".jsonl"]  # it is read as no corpus
    write_clean(texts, tmp_path, CleaningConfig(dropped_chars=0))
    assert (tmp_path / "dropped.ndjson").read_text() == ""


def test_what_is_held_out_stays_so_when_other_documents_come(tmp_path):
    def held_out(texts, name):
        write_clean(texts, tmp_path / name, CleaningConfig(held_out=0.2))
        return {record["text"] for record in read(tmp_path / name / "held_out.jsonl")}

    few, more = held_out(numbered(100), "few"), held_out(numbered(200), "more")
    assert few < more
    assert 10 < len(few) < 30


def test_a_near_duplicate_never_stands_on_the_other_side(tmp_path):
    originals = [document.text + " " + document.text[::-1] for document in numbered(150)]
    doubled = [Document(text + tail, "c", i) for tail in ("", " Again!") for i, text in enumerate(originals)]
    account = write_clean(doubled, tmp_path, CleaningConfig(held_out=0.3))
    assert account.dropped["near duplicate"].documents == 150
    kept = read(tmp_path / "train.jsonl") + read(tmp_path / "held_out.jsonl")
    assert not any(record["text"].endswith("Again!") for record in kept)


def test_when_nothing_is_left_the_rules_are_named_and_old_files_stay(tmp_path):
    write_clean(CLEAN, tmp_path, CleaningConfig())
    before = (tmp_path / "train.jsonl").read_bytes()
    with pytest.raises(DataError, match=r"cleaning left no document; dropped by rule: \{'too short': 1\}"):
        write_clean([Document("好。")], tmp_path, CleaningConfig())
    assert (tmp_path / "train.jsonl").read_bytes() == before


def test_unknown_repairs_and_impossible_shares_are_refused():
    with pytest.raises(ConfigError, match="repairs: 'mojibak' is unknown; repairs are"):
        CleaningConfig(repairs=("mojibak",))
    with pytest.raises(ConfigError, match=r"held_out is 1\.0; it must be in \[0, 1\)"):
        CleaningConfig(held_out=1.0)


def test_clean_texts_become_shards_whose_bytes_are_those_of_the_texts(tmp_path, tokenizer):
    write_clean(numbered(), tmp_path / "clean", CleaningConfig())
    tokenize_documents(documents(tmp_path / "clean" / "train.jsonl"), tokenizer, tmp_path / "shards")
    shards = open_shards(tmp_path / "shards", fingerprint=tokenizer.fingerprint)
    records = read(tmp_path / "clean" / "train.jsonl")
    assert [tokenizer.decode(shards.document(i)) for i in range(len(shards))] == [r["text"] for r in records]
    for lang in ("en", "zh"):
        texts = (record["text"] for record in records if record["lang"] == lang)
        assert shards.n_bytes[lang] == sum(len(text.encode()) for text in texts)


def test_known_dirt_is_found_and_clean_texts_are_kept(tmp_path):
    write_corpus(World.create(3, WorldSize()), tmp_path / "raw", 1_000_000, 3)
    account = write_clean(documents(tmp_path / "raw"), tmp_path / "clean", CleaningConfig())
    grade = account.to_tree()["grade"]
    assert min(kind["recall"] for kind in grade["by_kind"].values()) >= 0.95
    assert grade["clean"]["lost"] <= 0.01 * grade["clean"]["documents"]
    assert len(grade["by_kind"]) == 8
