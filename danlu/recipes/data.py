"""`danlu data`: raw files become clean texts to train on and to hold out, with an account of the cleaning."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from danlu.data.account import grade_table
from danlu.data.pipeline import CleaningConfig, write_clean
from danlu.data.sources import Document, ReadingConfig, documents, files
from danlu.data.tokenized import tokenize_documents
from danlu.tokenizer.bpe import Tokenizer

SUMMARY = "clean, deduplicate and divide a corpus, with an account of what was dropped"
SPLITS = ("train", "held_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    path: tuple[Path, ...]  # files and folders; what is not here is looked for under the folder $DANLU_DATA
    out: Path  # for train, held_out, dropped, account.json, and shards/ if there is a tokenizer
    tokenizer: Path | None = None  # directory with a tokenizer.json; then token shards are written too
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    cleaning: CleaningConfig = field(default_factory=CleaningConfig)


def run(config: DataConfig) -> Path:
    console = Console()
    account = write_clean(
        watched([located(path) for path in config.path], config.reading, console), config.out, config.cleaning
    )
    console.print(account.table())
    if graded := account.to_tree()["grade"]:
        console.print(grade_table(graded))
    if config.tokenizer:
        tokenize(config.out, config.tokenizer, config.out / "shards")
    return config.out


def tokenize(clean: Path, tokenizer: Path, out: Path) -> Path:
    """Write the token shards `out/train` and `out/held_out` of what `run` wrote into `clean`."""
    loaded = Tokenizer.load(tokenizer)
    for split in SPLITS:
        shards = tokenize_documents(documents(clean / f"{split}.jsonl"), loaded, out / split)
        print(f"{out / split}: {len(shards):,} documents, {shards.n_tokens:,} tokens")
    return out


def located(path: Path) -> Path:
    """The path as it is, or under the data root that the environment names."""
    root = os.environ.get("DANLU_DATA")
    return Path(root) / path if root and not path.exists() else path


def watched(paths: list[Path], reading: ReadingConfig, console: Console) -> Iterator[Document]:
    """Documents, with a progress bar that counts files and what was read of each."""
    sizes = {str(path): path.stat().st_size for path in files(paths)}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("cleaning", total=sum(sizes.values()))
        before, source, in_source = 0, "", 0
        for document in documents(paths, reading):
            if document.source != source:
                before, source, in_source = before + sizes.get(source, 0), document.source, 0
            in_source += len(document.text.encode("utf-8", "surrogatepass"))
            progress.update(task, completed=before + min(in_source, sizes[source]))
            yield document
