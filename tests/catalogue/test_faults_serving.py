"""Faults of sampling, files and safety that other projects shipped."""

from __future__ import annotations

import ast
import json
import logging
import pickle
import struct
import tomllib
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from catalogue import fault
from miniature import chat_format, language_model, said, tokenizer

from danlu.cli import main
from danlu.config import ConfigError
from danlu.evaluate import markup
from danlu.generate import sampler as sampling
from danlu.generate.sampler import Completion, Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model import weights
from danlu.model.hf import ModelFileError, TokenIds, load_model, save_model
from danlu.recipes.speaker import CUT, Speaker
from danlu.recipes.stage import chat_format_of, publish
from danlu.tokenizer.bpe import Tokenizer, TokenizerError

ROOT = Path(__file__).parent.parent.parent


@fault("nanochat engine.generate: every token decoded again for each token")
def test_each_token_is_read_once():
    model, n_read = language_model(), 0

    def count(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal n_read
        n_read += inputs[0].numel()

    model.backbone.embedding.register_forward_pre_hook(count)
    prompt = chat_format().prompt(said("Hello"))
    sampler = Sampler(model, stop_ids=(), max_batch=1, kernel="torch")
    sampler.generate([prompt], SamplingConfig(max_new_tokens=12))
    assert n_read == len(prompt) - 1 + 12


def always_stopped(**given: Any) -> Completion:
    return Completion(**given | {"finish_reason": "stop"})


@fault(
    "minimind serve_openai_api.py: finish_reason is never length",
    broken={"danlu.generate.sampler.Completion": always_stopped},
)
def test_a_completion_says_whether_it_ended_or_was_cut():
    sampler = sampling.Sampler(language_model(), stop_ids=(), max_batch=1, kernel="torch")
    prompt = chat_format().prompt(said("Hello"))
    (cut,) = sampler.generate([prompt], SamplingConfig(max_new_tokens=3))
    assert (cut.finish_reason, len(cut.ids)) == ("length", 3)
    stopping = sampling.Sampler(language_model(), stop_ids=cut.ids[1:2], max_batch=1, kernel="torch")
    (ended,) = stopping.generate([prompt], SamplingConfig(max_new_tokens=3))
    assert ended.finish_reason == "stop"


def without_stop_ids(**given: Any) -> TokenIds:
    return TokenIds(**given | {"stop": ()})


@fault("minimind #555", broken={"danlu.recipes.stage.TokenIds": without_stop_ids})
def test_a_published_model_says_where_to_stop(tmp_path: Path):
    publish(language_model(), tokenizer(), tmp_path / "model")
    config = json.loads((tmp_path / "model" / "generation_config.json").read_text())
    assert config["eos_token_id"] == [tokenizer().im_end_id, tokenizer().eos_id]


@fault("litgpt serve: cut after 50 tokens in silence")
def test_an_answer_that_was_cut_is_shown_as_such():
    speaker = Speaker(language_model(), chat_format())
    ids = chat_format().prompt(said("Hello"))
    pieces = list(speaker.say(ids, (), SamplingConfig(max_new_tokens=3)))
    assert pieces[-1] == CUT


@fault("llama.cpp CVE-2026-21869")
@pytest.mark.parametrize(
    "wrong",
    [{"max_new_tokens": 0}, {"max_new_tokens": -1}, {"top_k": -5}, {"top_p": 1.5}, {"temperature": -1.0}],
)
def test_a_number_out_of_its_range_is_refused(wrong: dict[str, Any]):
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is "):
        SamplingConfig(**wrong)


@fault("nanochat chat_web.py; LLaMA-Factory API_VERBOSE: conversations in the log")
def test_no_conversation_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    publish(language_model(), tokenizer(), tmp_path / "model")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "model").rglob("*")}
    with caplog.at_level(logging.DEBUG):
        assert main(["generate", str(tmp_path / "model"), "a secret", "sampling.max_new_tokens=4"]) == 0
    assert not [record for record in caplog.records if "secret" in record.getMessage()]
    assert list((tmp_path / "here").iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "model").rglob("*")} == before


@dataclass
class Bomb:
    """Writes a file when it is unpickled."""

    canary: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.canary), "w"))


def retry_as_pickle(path: Path) -> dict[str, Any]:
    """Open whatever lies beside, as Stanza and LLaMA-Factory did."""
    torch.load(path.with_name("pytorch_model.bin"), weights_only=False)
    raise ModelFileError("nothing in it")


@fault(
    "torch CVE-2025-32434; LLaMA-Factory CVE-2025-53002; Stanza: retry with weights_only=False",
    broken={"danlu.model.weights.scan": retry_as_pickle},
)
@pytest.mark.filterwarnings("ignore")
def test_a_pickle_is_never_opened(tmp_path: Path):
    save_model(language_model(), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    torch.save(Bomb(tmp_path / "canary"), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelFileError):
        weights.read_tensors(tmp_path)
    assert not (tmp_path / "canary").exists()


@fault("nanochat tokenizer.py:67: tokenizer.pkl")
def test_a_tokenizer_is_text_and_never_a_pickle(tmp_path: Path):
    bomb = pickle.dumps(Bomb(tmp_path / "canary"))
    (tmp_path / "tokenizer.json").write_bytes(bomb)
    (tmp_path / "tokenizer.pkl").write_bytes(bomb)
    with pytest.raises(TokenizerError, match="not a byte-level BPE tokenizer"):
        Tokenizer.load(tmp_path)
    assert not (tmp_path / "canary").exists()


@fault("vLLM CVE-2026-22807; LLaMA-Factory, OpenRLHF: trust_remote_code=True")
def test_code_of_a_model_directory_is_never_run(tmp_path: Path):
    save_model(language_model(), tmp_path)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_model(tmp_path)
    assert not (tmp_path / "canary").exists()
    save_model(loaded, tmp_path / "again")
    assert "auto_map" not in json.loads((tmp_path / "again" / "config.json").read_text())


@fault("llama-cpp-python CVE-2024-34359; SGLang CVE-2026-5760; litgpt serve.py:211")
def test_a_template_of_a_model_directory_is_never_rendered(tmp_path: Path):
    publish(language_model(), tokenizer(), tmp_path / "model")
    path = tmp_path / "model" / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["chat_template"] = (
        f"{{{{ cycler.__init__.__globals__.os.system('touch {tmp_path / 'canary'}') }}}}PWNED"
    )
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(TokenizerError, match="of an unknown format"):
        chat_format_of(tmp_path / "model")
    config["chat_template"] += chat_format().template  # now it could be ours
    path.write_text(json.dumps(config), encoding="utf-8")
    loaded = chat_format_of(tmp_path / "model")
    assert loaded.prompt(said("Hello")) == chat_format().prompt(said("Hello"))
    assert not (tmp_path / "canary").exists()


@fault("Ollama CVE-2024-37032; LLaMA-Factory: startswith(safe_path)")
@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "a/../../b"])
def test_a_model_names_no_file_outside_its_directory(name: str, tmp_path: Path):
    index = {"weight_map": {"model.norm.weight": name}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelFileError, match="files must lie beside the index"):
        weights.read_tensors(tmp_path)


@fault("Ollama CVE-2026-7482")
def test_offsets_beyond_the_file_are_refused(tmp_path: Path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 20], "data_offsets": [0, 4 << 20]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 64)
    with pytest.raises(ModelFileError, match="cut short, corrupt or not a safetensors file"):
        weights.read_tensors(tmp_path)


@fault(
    "nanochat ui.html: innerHTML (#611); minimind: unsafe_allow_html",
    broken={"danlu.evaluate.markup.escape": lambda text, quote=True: text},
)
def test_what_a_model_writes_stays_text_in_the_report():
    shown = markup.tag("td", "<img src=x onerror=alert(1)>", title='"><script>')
    assert shown == '<td title="&quot;&gt;&lt;script&gt;">&lt;img src=x onerror=alert(1)&gt;</td>'


HEAVY = {"vllm", "ray", "deepspeed", "flash_attn", "litellm", "bitsandbytes", "xformers"}


@fault("OpenRLHF #211 #227 #679; Long-RL #16 #18; minimind #229; litellm 1.82.7")
def test_nothing_is_needed_that_does_not_install_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    assert not [each for each in named if each.replace("-", "_").startswith(tuple(HEAVY))]
    for path in (ROOT / "danlu").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not HEAVY & {name.split(".")[0] for name in names}, path


@fault("minimind #4 #334: data that is not there")
def test_a_file_that_is_missing_is_named_before_anything_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    publish(language_model(), tokenizer(), tmp_path / "model")
    words = [f"base={tmp_path / 'model'}", f"data={tmp_path / 'none.jsonl'}", f"out={tmp_path / 'out'}"]
    assert main(["sft", *words]) == 2
    assert f"danlu: {tmp_path / 'none.jsonl'}: does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
