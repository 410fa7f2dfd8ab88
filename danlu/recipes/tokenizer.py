"""`danlu tokenizer`: texts become a vocabulary."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from danlu.config import ConfigError
from danlu.data.records import DataError
from danlu.data.sources import Document, documents, files
from danlu.tokenizer.bpe import SMALLEST_VOCAB, Pattern, Tokenizer

SUMMARY = "learn a vocabulary from texts"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    texts: Path  # file or folder of texts; of a folder that `danlu data` wrote, its train.jsonl
    out: Path
    vocab_size: int = 8192  # control tokens included
    pattern: Pattern = "qwen2"  # how text is cut before merging, by llama.cpp's names
    max_bytes: int = 20_000_000  # learn from so much text at most, spread over all of it
    measured: int = 2000  # documents on which bytes per token are measured

    def __post_init__(self) -> None:
        if self.vocab_size < SMALLEST_VOCAB:
            raise ConfigError(f"vocab_size is {self.vocab_size}; it must be at least {SMALLEST_VOCAB}")


def run(config: TokenizerConfig) -> Path:
    path = config.texts / "train.jsonl"
    path = path if path.exists() else config.texts
    every = max(1, -(-sum(file.stat().st_size for file in files(path)) // config.max_bytes))
    texts = map(text_of, islice(documents(path), 0, None, every))
    tokenizer = Tokenizer.train(texts, config.vocab_size, config.pattern, max_bytes=config.max_bytes)
    tokenizer.save(config.out)
    print(f"{config.out}: {tokenizer.vocab_size} tokens")
    if tokenizer.vocab_size < config.vocab_size:
        print(f"  fewer than the {config.vocab_size} asked for: no more pairs occur twice in these texts")
    ratios = compression(tokenizer, path, config.measured)
    for language, (in_bytes, in_characters) in ratios.items():
        print(f"  {language:<8} {in_bytes:.2f} bytes ({in_characters:.2f} characters) a token")
    summary = {
        "vocab_size": tokenizer.vocab_size,
        "bytes_per_token": {language: in_bytes for language, (in_bytes, _) in ratios.items()},
    }
    (config.out / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return config.out


def compression(tokenizer: Tokenizer, path: Path, n_documents: int) -> dict[str, tuple[float, float]]:
    """Bytes and characters a token by language, over the first documents."""
    by_language: dict[str, list[str]] = defaultdict(list)
    for document in islice(documents(path), n_documents):
        by_language[document.lang or "unnamed"].append(text_of(document))
    ratios: dict[str, tuple[float, float]] = {}
    for language, texts in sorted(by_language.items()):
        ratio, characters = tokenizer.bytes_per_token(texts), sum(map(len, texts))
        ratios[language] = ratio, ratio * characters / sum(len(text.encode()) for text in texts)
    return ratios


def text_of(document: Document) -> str:
    """Its text, or an error that says where it stands: JSON can spell what is no Unicode."""
    try:
        document.text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{document.source}:{document.line}: character {error.start} of the text is half a surrogate "
            "pair; repair or drop it, as `danlu data` does"
        ) from None
    return document.text
