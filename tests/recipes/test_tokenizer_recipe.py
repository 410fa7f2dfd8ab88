from __future__ import annotations

import json
from pathlib import Path

import pytest

from danlu.cli import main
from danlu.tokenizer.bpe import Tokenizer


def write(path: Path, records: list[dict[str, str]]) -> None:
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    path.write_text("\n".join(lines), encoding="utf-8")


def test_it_learns_from_the_training_part_and_tells_how_much_a_token_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write(tmp_path / "train.jsonl", [{"text": "河边", "lang": "zh"}, {"text": "aaaa", "lang": "en"}] * 4)
    write(tmp_path / "held_out.jsonl", [{"text": "zzzzzzzz", "lang": "en"}] * 4)
    assert main(["tokenizer", f"texts={tmp_path}", f"out={tmp_path}/out", "vocab_size=300"]) == 0
    tokenizer = Tokenizer.load(tmp_path / "out")
    assert len(tokenizer.encode("zz")) == 2
    # 河边 is six bytes, joined by five merges; aa and aaaa are two more.
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/out: 267 tokens",
        "  fewer than the 300 asked for: no more pairs occur twice in these texts",
        "  en       4.00 bytes (4.00 characters) a token",
        "  zh       6.00 bytes (2.00 characters) a token",
    ]


def test_a_large_corpus_is_sampled_evenly(tmp_path: Path):
    kinds = ("ab" * 200, "cd" * 200, "ef" * 200)
    write(tmp_path / "texts.jsonl", [{"text": text} for text in kinds for _ in range(6)])
    words = [f"texts={tmp_path}", f"out={tmp_path}/out", "vocab_size=300", "max_bytes=2600"]
    assert main(["tokenizer", *words]) == 0
    tokenizer = Tokenizer.load(tmp_path / "out")
    assert all(len(tokenizer.encode(text)) < 200 for text in kinds)  # the first 2600 bytes hold one kind only
