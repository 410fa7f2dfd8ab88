from __future__ import annotations

import json
from pathlib import Path

import pytest

from danlu.data.records import DataError
from danlu.data.shards import open_shards
from danlu.recipes import data
from danlu.tokenizer.bpe import Tokenizer


@pytest.fixture
def root(tmp_path):
    """A data root with a folder of texts."""
    folder = tmp_path / "root" / "letters"
    folder.mkdir(parents=True)
    lines = [f"Dear number {i}, the {i * i} birds of the hill are singing to you again." for i in range(50)]
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    (folder / "b.md").write_text("亲爱的朋友，山上的鸟又在为你歌唱了。\n", encoding="utf-8")
    return tmp_path / "root"


def test_a_folder_under_the_data_root_becomes_texts_an_account_and_shards(
    root, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("DANLU_DATA", str(root))
    tokenizer = Tokenizer.train(["the birds of the hill", "山上的鸟"] * 3, 280)
    tokenizer.save(tmp_path / "tokenizer")
    config = data.DataConfig(path=(Path("letters"),), out=tmp_path / "out", tokenizer=tmp_path / "tokenizer")
    assert data.run(config) == tmp_path / "out"
    assert "dropped" in capsys.readouterr().out
    account = json.loads((tmp_path / "out" / "account.json").read_text())
    assert sum(tally["documents"] for tally in account["read"].values()) == 51
    shards = open_shards(tmp_path / "out" / "shards" / "train", fingerprint=tokenizer.fingerprint)
    assert set(shards.languages) == {"en", "zh"}


def test_a_folder_that_is_nowhere_is_an_error(tmp_path, monkeypatch):
    monkeypatch.delenv("DANLU_DATA", raising=False)
    with pytest.raises(DataError, match="letters: does not exist"):
        data.run(data.DataConfig(path=(tmp_path / "letters",), out=tmp_path / "out"))
