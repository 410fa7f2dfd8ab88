"""What a text costs some models: the loss of a token, bits for a byte, and how far one is from another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from danlu.data.shards import Shards, open_shards
from danlu.data.sources import documents
from danlu.data.tokenized import tokenize_documents
from danlu.evaluate.perplexity import TextLoss, loss_by_language
from danlu.model.quantize import weight_bytes
from danlu.recipes.speaker import Speaker

BATCH_SIZE, LONGEST = 8, 512  # rows, and tokens a row at most


def measure_text(speakers: Mapping[str, Speaker], text: Path) -> dict[str, Any]:
    """Each model's loss over all of `text`, documents or token shards, each token once."""
    seq_len = min(LONGEST, *(speaker.max_seq_len for speaker in speakers.values()))
    systems = {name: _measure(speaker, text, seq_len) for name, speaker in speakers.items()}
    tree: dict[str, Any] = {"text": str(text), "seq_len": seq_len, "systems": systems}
    if {"model", "against"} <= systems.keys():
        tokenizers = {speaker.chat.tokenizer.fingerprint for speaker in speakers.values()}
        tree["difference"] = _difference(
            systems["against"], systems["model"], same_tokens=len(tokenizers) == 1
        )
    return tree


def _measure(speaker: Speaker, text: Path, seq_len: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        losses = loss_by_language(
            speaker.model, _shards(speaker, text, Path(folder)), BATCH_SIZE, seq_len, lead_with_eos=True
        )
    total = sum(losses.values(), TextLoss())
    return {
        "loss": total.per_token,
        "perplexity": math.exp(total.per_token),
        "bits_per_byte": total.bits_per_byte,
        "n_tokens": total.n_tokens,
        "n_bytes": total.n_bytes,
        "weight_bytes": weight_bytes(speaker.model),
    }


def _shards(speaker: Speaker, text: Path, folder: Path) -> Shards:
    tokenizer = speaker.chat.tokenizer
    if (text / "index.json").is_file():
        return open_shards(text, fingerprint=tokenizer.fingerprint)
    return tokenize_documents(documents(text), tokenizer, folder / "shards")


def _difference(
    before: Mapping[str, float], after: Mapping[str, float], *, same_tokens: bool
) -> dict[str, float]:
    """What the second model loses; with other tokens only bits for a byte can be compared."""
    found = {"bits_per_byte": after["bits_per_byte"] / before["bits_per_byte"] - 1}
    return found | ({"perplexity": after["perplexity"] / before["perplexity"] - 1} if same_tokens else {})


def show_text(tree: Mapping[str, Any]) -> None:
    """Print the table, and what the model loses against the other."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in ("perplexity", "nats/token", "bits/byte", "tokens", "weights, MB"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, found in tree["systems"].items():
        table.add_row(
            name,
            f"{found['perplexity']:.4f}",
            f"{found['loss']:.5f}",
            f"{found['bits_per_byte']:.5f}",
            f"{found['n_tokens']:,}",
            f"{found['weight_bytes'] / 1e6:.2f}",
        )
    console = Console()
    console.print(table)
    if difference := tree.get("difference"):
        told = ", ".join(f"{name.replace('_', ' ')} {100 * by:+.2f} %" for name, by in difference.items())
        console.print(f"model against the other: {told}", highlight=False)
