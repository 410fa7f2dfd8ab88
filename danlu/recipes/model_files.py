"""Model directories taken in and handed on: the same weights, in another format or in other files."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from danlu.adapters.files import is_adapter
from danlu.config import ConfigError
from danlu.model.gguf import Vocabulary
from danlu.model.hf import AnyModel, Dtype, TokenIds, open_model, save_model
from danlu.model.quantize import Quantisation, StoredQuantised
from danlu.model.tensor_file import ModelFileError, Stored
from danlu.model.weights import read_json
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.byte_level import PATTERNS, TokenizerError
from danlu.tokenizer.foreign import ForeignTokenizer
from danlu.tokenizer.interface import TextTokenizer
from danlu.tokenizer.templates import open_chat_format
from danlu.train.checkpoint import atomic_folder

Format = Literal["stored", "float32", "bfloat16", "float16"]
GB = 10**9
LANGUAGES_FILE = "translation.json"  # ours, beside a translation model: what it translates into what
GGUF_PATTERNS = {  # llama.cpp's names, by the expression
    PATTERNS["qwen2"][0]: "qwen2",
    PATTERNS["qwen2"][0].replace(r"|\p{N}|", r"|\p{N}{1,3}|"): "llama-bpe",
}
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    LANGUAGES_FILE,
)


def model_dir(path: Path) -> Path:
    """The model directory that is meant: this one, or the one in a run directory."""
    if (path / "model" / "config.json").is_file():
        return path / "model"
    if path.is_dir():
        return path
    raise ModelFileError(
        f"{path} is no directory here; a model of the Hugging Face Hub is fetched first, for instance with "
        "`hf download NAME --local-dir DIR`"
    )


def whole_model_dir(path: Path) -> Path:
    """The model directory that is meant, where an adapter alone will not do."""
    directory = model_dir(path)
    if not (directory / "config.json").is_file() and (is_adapter(path) or is_adapter(path / "adapter")):
        raise ModelFileError(
            f"{path} holds an adapter; merge it first, with `danlu export {path} DIR dtype=float32`"
        )
    return directory


def commonest(tensors: Mapping[str, Stored | StoredQuantised]) -> Dtype:
    """The format that most numbers of a directory lie in."""
    counts: Counter[torch.dtype] = Counter()
    for each in tensors.values():
        counts[each.dtype] += each.n_bytes
    name = str(counts.most_common(1)[0][0]).removeprefix("torch.")
    return "bfloat16" if name == "bfloat16" else "float16" if name == "float16" else "float32"


def format_of(source: Path, wanted: Format) -> Dtype:
    """The format to write in."""
    return commonest(open_model(source).tensors) if wanted == "stored" else wanted


def write_anew(
    model: AnyModel,
    out: Path,
    *,
    source: Path,
    dtype: Dtype,
    tokens: TokenIds,
    shard_gb: float,
    quantisation: Quantisation | None = None,
) -> None:
    """Write a model directory with the tokenizer files of `source`, whole or not at all."""
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"out is {out}, which exists; name a directory that is not there yet")
    if shard_gb <= 0:
        raise ConfigError(f"shard_gb is {shard_gb}; it must be above 0")
    with atomic_folder(out) as folder:
        save_model(
            model,
            folder,
            dtype=dtype,
            token_ids=tokens,
            max_shard_bytes=int(shard_gb * GB),
            quantisation=quantisation,
        )
        for name in TOKENIZER_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)


def token_ids(tree: dict[str, Any]) -> TokenIds:
    """The control tokens that a `config.json` names."""
    stop = tree.get("eos_token_id")
    stops = tuple(stop) if isinstance(stop, list) else () if stop is None else (stop,)
    start = tree.get("decoder_start_token_id")
    return TokenIds(pad=tree.get("pad_token_id"), bos=tree.get("bos_token_id"), stop=stops, start=start)


def vocabulary_of(path: Path) -> Vocabulary:
    """The tokenizer of a model directory as a GGUF file holds it."""
    chat, tokens = open_chat_format(path), token_ids(read_json(path / "config.json"))
    tokenizer = chat.tokenizer
    tree = json.loads(tokenizer.to_json())
    vocab = tree["model"]["vocab"] | {each["content"]: each["id"] for each in tree["added_tokens"]}
    # Rows that the model has and its tokenizer no token for are spelled too.
    controls = {tokenizer.decode([i], show_control=True): i for i in tokenizer.control_ids}
    vocab |= {text: i for text, i in controls.items() if i >= len(vocab)}
    return Vocabulary(
        tokens=sorted(vocab, key=vocab.__getitem__),
        control=tokenizer.control_ids,
        merges=[(left, right) for left, right in tree["model"]["merges"]],
        pattern=_pattern(path, tokenizer),
        bos=tokens.bos,
        eos=tokens.stop[0] if tokens.stop else tokenizer.eos_id,
        pad=tokens.pad,
        chat_template=chat.template,
    )


def _pattern(path: Path, tokenizer: TextTokenizer) -> str:
    """llama.cpp's name of how a tokenizer cuts text before merging."""
    if isinstance(tokenizer, Tokenizer):
        return tokenizer.pattern
    found = tokenizer.split if isinstance(tokenizer, ForeignTokenizer) else None
    if found not in GGUF_PATTERNS:
        raise ConfigError(
            f"{path}: GGUF is written of tokenizers of ours, of Qwen 2 to 3 and of Llama 3; for this one use "
            "llama.cpp's own convert_hf_to_gguf.py"
        )
    return GGUF_PATTERNS[found]


def tokenizer_note(path: Path) -> str | None:
    """Why a model cannot be spoken to with its own tokenizer; None where it can."""
    if not (path / "tokenizer.json").is_file():
        return "it has no tokenizer.json"
    try:
        open_chat_format(path)
    except TokenizerError as error:
        return str(error)
    return None
