"""`danlu generate` and `danlu chat` with a model of random weights: what is fed to it, shown and kept."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from danlu.cli import main
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.recipes.conversation import Conversation
from danlu.recipes.speaker import CUT, Speaker, load_speaker
from danlu.recipes.stage import publish
from danlu.tokenizer.bpe import Tokenizer

GREEDY = SamplingConfig(max_new_tokens=8, temperature=0)
SIZES = {
    "d_model": 16,
    "n_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 1,
    "head_dim": 8,
    "d_ff": 16,
    "max_seq_len": 96,
}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = Tokenizer.train(["user assistant system 你好 hello there\n"] * 3, 300)
    run = tmp_path_factory.mktemp("run")
    publish(
        LanguageModel(ModelConfig(vocab_size=tokenizer.vocab_size, **SIZES), seed=1), tokenizer, run / "model"
    )
    return run / "model"


@pytest.fixture
def speaker(model_dir: Path) -> Speaker:
    return load_speaker(model_dir)


def completion(speaker: Speaker, prompt_ids: list[int], stop_ids: frozenset[int]) -> str:
    """By the other route: all at once, decoded at the end."""
    forbidden = speaker.chat.tokenizer.control_ids - stop_ids
    sampler = Sampler(speaker.model, stop_ids=stop_ids, forbidden_ids=forbidden, max_batch=1)
    (done,) = sampler.generate([prompt_ids], GREEDY)
    return speaker.chat.tokenizer.decode(done.ids) + (CUT if done.finish_reason == "length" else "")


def test_text_in_pieces_is_the_text_of_the_whole_completion(speaker: Speaker):
    ids = speaker.chat.prompt([{"role": "user", "content": "你好"}])
    pieces = list(speaker.say(ids, speaker.chat.stop_ids, GREEDY))
    assert "".join(pieces) == completion(speaker, ids, speaker.chat.stop_ids)


def test_generate_prints_the_answer(speaker: Speaker, model_dir: Path, capsys: pytest.CaptureFixture[str]):
    assert (
        main(["generate", str(model_dir), "hello", "--sampling={max_new_tokens = 8, temperature = 0}"]) == 0
    )
    ids = speaker.chat.prompt([{"role": "user", "content": "hello"}])
    assert capsys.readouterr().out == completion(speaker, ids, speaker.chat.stop_ids) + "\n"


def test_generate_raw_continues_the_text_as_a_document(
    speaker: Speaker, model_dir: Path, capsys: pytest.CaptureFixture[str]
):
    run_dir = model_dir.parent  # the run directory stands for the model in it
    words = ["--raw", "sampling.max_new_tokens=8", "sampling.temperature=0"]
    assert main(["generate", str(run_dir), "hello", *words]) == 0
    tokenizer = speaker.chat.tokenizer
    ids = [tokenizer.eos_id, *tokenizer.encode("hello")]
    assert capsys.readouterr().out == "hello" + completion(speaker, ids, frozenset({tokenizer.eos_id})) + "\n"


def test_a_prompt_longer_than_the_context_is_refused(model_dir: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["generate", str(model_dir), "z" * 100]) == 2
    assert "with room for an answer it must be shorter than 96" in capsys.readouterr().err


def test_chat_reads_lines_from_a_pipe_and_ends_with_them(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.stdin", io.StringIO("/temperature 0\n\n/quit\nnever read\n"))
    assert main(["chat", str(model_dir)]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == ["(temperature 0.0)"]


def conversation(speaker: Speaker, system: str = "") -> tuple[Conversation, list[str]]:
    shown: list[str] = []
    return Conversation(speaker, system, GREEDY, shown.append), shown


def test_an_answer_is_shown_and_kept_without_the_mark_of_its_cut(speaker: Speaker):
    talk, shown = conversation(speaker, "hello")
    talk.hear("你好")
    asked = [{"role": "system", "content": "hello"}, {"role": "user", "content": "你好"}]
    answer = completion(speaker, speaker.chat.prompt(asked), speaker.chat.stop_ids)  # type: ignore[arg-type]
    assert "".join(shown) == answer + "\n"
    assert talk.messages[1:] == [{"role": "assistant", "content": answer.removesuffix(CUT)}]


def test_commands_change_the_conversation(speaker: Speaker):
    talk, shown = conversation(speaker)
    talk.hear("hello")
    talk.hear("/reset")
    assert talk.messages == []
    talk.hear("/system be kind")
    assert talk.system == "be kind"
    talk.hear("/temperature 0.5")
    assert talk.sampling.temperature == 0.5
    shown.clear()
    talk.hear("/nonsense")
    assert "".join(shown).startswith("(no command /nonsense; ")


@pytest.mark.parametrize("line", ["/temperature", "/temperature hot", "/temperature -1", "z" * 100, "\ud800"])
def test_a_mistake_is_told_and_changes_nothing(speaker: Speaker, line: str):
    talk, shown = conversation(speaker, "hello")
    talk.hear("hello")
    before = list(talk.messages)
    shown.clear()
    talk.hear(line)
    assert len(shown) == 1
    assert shown[0].startswith("(")
    assert (talk.messages, talk.system, talk.sampling) == (before, "hello", GREEDY)


def test_the_oldest_exchanges_are_forgotten_when_the_context_is_full(speaker: Speaker):
    talk, shown = conversation(speaker)
    for number in range(6):
        talk.hear(f"hello {number}")
    assert len(talk.messages) < 12
    assert any("are forgotten" in text for text in shown)
    assert talk.messages[-2]["content"] == "hello 5"
    assert talk.messages[0]["role"] == "user"
