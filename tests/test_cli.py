from __future__ import annotations

import errno
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from danlu.cli import in_words, main, read_words, settings
from danlu.config import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    lr: float = 1e-3  # peak rate
    kind: str = "plain"
    """How it is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    model: Path  # where it lies
    prompt: str = ""
    raw: bool = False
    part: Part = field(default_factory=lambda: Part(lr=0.5))


def words(*given: str) -> tuple[Path | None, list[str]]:
    return read_words(given, Whole, ("model", "prompt"))


def test_three_ways_to_write_a_setting_are_one():
    assert words("--part.lr", "1", "--prompt=a b", "raw=true") == (
        None,
        ["part.lr=1", "prompt=a b", "raw=true"],
    )
    assert words("--raw", "m", "--prompt", "a=b") == (None, ["raw=true", 'model="m"', "prompt=a=b"])
    assert words("--raw", "false") == (None, ["raw=false"])


def test_words_without_a_key_fill_their_places_even_where_they_look_like_settings():
    assert words("runs/a", "x=3 and {y}") == (None, ['model="runs/a"', 'prompt="x=3 and {y}"'])
    assert words("runs/a", "raw=true", "why?") == (None, ['model="runs/a"', "raw=true", 'prompt="why?"'])
    assert words("conf.toml", "runs/a") == (Path("conf.toml"), ['model="runs/a"'])
    assert words("runs/a", "model=keys.toml") == (None, ['model="runs/a"', "model=keys.toml"])


def test_a_word_that_is_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"'c': expected key=value or a config file that ends in \.toml"):
        words("a", "b", "c")


def test_help_shows_type_default_and_comment_of_every_setting():
    rows = {row.key: (row.type, row.default, row.doc) for row in settings(Whole)}
    assert rows == {
        "model": ("path", "(required)", "where it lies"),
        "prompt": ("text", '""', ""),
        "raw": ("true or false", "false", ""),
        "part.lr": ("number", "0.5", "peak rate"),
        "part.kind": ("text", '"plain"', "How it is done."),
    }


def test_the_overview_names_every_command_without_loading_torch():
    code = (
        "import sys; from danlu.cli import main; main(['--help']); "
        "sys.exit(bool({'torch', 'numpy', 'rich', 'tokenizers'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    recipes = Path(__file__).parent.parent / "danlu" / "recipes"
    for command in re.findall(r"^  (\w+)  +(?=\w)", shown, re.MULTILINE):
        assert (recipes / f"{command}.py").exists()
    for command in ("tokenizer", "pretrain", "sft", "reward", "ppo", "dpo", "chat", "generate"):
        assert re.search(rf"^  {command} +\w", shown, re.MULTILINE)


def test_a_command_shows_its_settings(capsys: pytest.CaptureFixture[str]):
    assert main(["tokenizer", "--help"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^  vocab_size +8192 +integer; control tokens included$", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["pretran"], "'pretran' is no command; did you mean 'pretrain'?"),
        (["tokenizer"], "texts: required, but not set"),
        (["tokenizer", "text=a"], "text: unknown key, did you mean 'texts'?"),
        (["tokenizer", "none.toml"], "none.toml: cannot be read as a config file: No such file or directory"),
        (["tokenizer", "texts=a", "out=b", "vocab_size=9"], "vocab_size is 9; it must be at least 260"),
        (["tokenizer", "texts=none.txt", "out=b"], "none.txt: does not exist"),
        (["tokenizer", "--texts"], "--texts: expected a value after it"),
        (["generate", "none", "Hi"], "none/config.json is missing; a model directory holds config.json"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_exits_with_2(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert main(argv) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"danlu: {message}")
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_what_the_file_system_refuses_is_told_with_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "texts.txt").write_text("some text\n" * 3, encoding="utf-8")
    assert main(["tokenizer", f"texts={tmp_path}/texts.txt", f"out={tmp_path}/texts.txt/out"]) == 2
    assert f"{tmp_path}/texts.txt/out: Not a directory" in capsys.readouterr().err


def test_a_full_disk_is_told_with_what_to_do():
    told = in_words(OSError(errno.ENOSPC, "No space left on device", "runs/a/model.safetensors"))
    assert told == (
        "the disk is full while writing runs/a/model.safetensors; make room, and the same command goes on "
        "from the last checkpoint"
    )


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(TypeError):
        main(["tokenizer", 3])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("tokenizer", "danlu: stopped"),
        ("sft", "danlu: stopped; the same command goes on from the last checkpoint"),
    ],
)
def test_an_interruption_exits_with_130(
    command: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("danlu.cli._command", interrupted)
    # Jobs in a shell's background ignore Ctrl-C, and hand that down to their children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main([command]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.strip() == told
