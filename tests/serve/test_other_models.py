"""Models of other people behind the real server: their format, their ends, and what they cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chat_models
import openai
import pytest
from test_real_server import running
from transformers import PreTrainedTokenizerFast

from danlu.cli import main
from danlu.generate.sampling import SamplingConfig
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.model.hf import TokenIds, save_model
from danlu.recipes.serving import load_served
from danlu.recipes.tool_settings import ToolsConfig
from danlu.serve.api.app import create_app

KINDS = {
    "llama 3.1": ("llama", chat_models.LLAMA_3_1),
    "qwen 2.5": ("qwen", chat_models.QWEN_2_5),
    "mistral v3": ("sentencepiece v3", chat_models.MISTRAL_V3),
    "llama 2": ("sentencepiece", chat_models.LLAMA_2),
}
ASKED: Any = [{"role": "system", "content": "简短。"}, {"role": "user", "content": "Hello there 你好"}]
WEATHER: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def written(kind: str, folder: Path) -> Path:
    """A directory of a kind, with a tiny model of random weights that has three rows more than tokens."""
    theirs = chat_models.write_chat_model(*KINDS[kind], folder)
    sizes = {"d_model": 16, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "head_dim": 8, "d_ff": 16}
    config = ModelConfig(vocab_size=theirs.get_vocab_size() + 3, max_seq_len=256, **sizes)
    save_model(LanguageModel(config, seed=1), folder, token_ids=TokenIds(pad=0, bos=1, stop=(2,)))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_directory_is_served_in_its_own_format(kind: str, tmp_path: Path):
    folder = written(kind, tmp_path / "theirs")
    served = load_served(
        folder, adapters={}, reward_model=None, sampling=SamplingConfig(), tools=ToolsConfig()
    )
    theirs = PreTrainedTokenizerFast.from_pretrained(folder)
    prompt = theirs.apply_chat_template(ASKED, add_generation_prompt=True, return_dict=False)
    asked: dict[str, Any] = {"model": "theirs", "messages": ASKED, "temperature": 0, "max_tokens": 12}
    with (
        running(create_app(served)) as (address, _),
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        whole = client.chat.completions.create(**asked)
        assert whole.usage is not None
        assert whole.usage.prompt_tokens == len(prompt)
        stream = client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        chunks = list(stream)
        text = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
        assert text == whole.choices[0].message.content
        assert chunks[-1].usage == whole.usage
        end = {str(served.chat.end_id): 100}
        ended = client.chat.completions.create(**asked, logit_bias=end)
        assert ended.choices[0].finish_reason == "stop"
        assert ended.choices[0].message.content == ""
        with pytest.raises(openai.BadRequestError, match="tools are not to be had with this model"):
            client.chat.completions.create(**asked, tools=[WEATHER])
        plain = client.completions.create(
            model="theirs", prompt="Hello", max_tokens=1, temperature=0, extra_body={"echo": True}
        )
        assert plain.choices[0].text.startswith("Hello")
        form: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"enum": ["是", "no"]}}}
        formed = client.chat.completions.create(**asked, response_format=form)
        assert json.loads(formed.choices[0].message.content or "") in ("是", "no")


@pytest.mark.parametrize("kind", KINDS)
def test_generate_speaks_the_format_too(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = written(kind, tmp_path / "theirs")
    settings = [f"model={folder}", "prompt=你好 there", "sampling.max_new_tokens=4"]
    assert main(["generate", *settings]) == 0
    assert main(["generate", *settings, "raw=true"]) == 0
    assert "你好 there" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["llama 3.1", "qwen 2.5"])
def test_gguf_holds_their_tokenizer_and_template(kind: str, tmp_path: Path):
    folder = written(kind, tmp_path / "theirs")
    assert main(["export", f"model={folder}", f"out={tmp_path / 'theirs.gguf'}"]) == 0
    raw = (tmp_path / "theirs.gguf").read_bytes()
    for text in (
        KINDS[kind][1],
        chat_models.GGUF_NAMES[KINDS[kind][0]],
        chat_models.CONTROL[KINDS[kind][0]][-1],
    ):
        assert text.encode() in raw


def test_gguf_of_pieces_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = written("llama 2", tmp_path / "theirs")
    assert main(["export", f"model={folder}", f"out={tmp_path / 'theirs.gguf'}"]) == 2
    assert "convert_hf_to_gguf.py" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_import_has_nothing_to_say_against_them(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = written(kind, tmp_path / "theirs")
    assert main(["import", str(folder), str(tmp_path / "taken")]) == 0
    assert main(["model", str(tmp_path / "taken")]) == 0
    assert "cannot be spoken to" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        lambda folder: ["sft", f"base={folder}", "data=none.jsonl"],
        lambda folder: ["reward", f"base={folder}", "comparisons=none.jsonl"],
        lambda folder: ["dpo", f"policy={folder}", "comparisons=none.jsonl"],
    ],
)
def test_stages_say_that_they_train_in_chatml(
    command: Callable[[Path], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = written("llama 3.1", tmp_path / "theirs")
    assert main([*command(folder), f"out={tmp_path / 'run'}"]) == 2
    assert "Stages train in ChatML only" in capsys.readouterr().err
