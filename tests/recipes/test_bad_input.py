"""Bad input to each command: told in plain words with its place, exit code 2, and nothing written or lost."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from danlu.cli import main
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.recipes.pretrain import Shape
from danlu.recipes.stage import publish
from danlu.tokenizer.bpe import Tokenizer

SHAPE = Shape(d_model=32, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=32, max_seq_len=64)


@pytest.fixture
def base(kit, tmp_path: Path) -> Path:
    """A model directory that a test may damage."""
    tokenizer = Tokenizer.load(kit.tokenizer)
    publish(LanguageModel(SHAPE.model_config(tokenizer.vocab_size), seed=0), tokenizer, tmp_path / "base")
    return tmp_path / "base"


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What the command says as it refuses."""
    capsys.readouterr()
    assert main(argv) == 2
    told = capsys.readouterr().err
    assert told.startswith("danlu: ")
    assert "Traceback" not in told
    return told


def turns(*said: tuple[str, str]) -> str:
    messages = [{"role": role, "content": content} for role, content in said]
    return json.dumps({"messages": messages}, ensure_ascii=False) + "\n"


GOOD = turns(("user", "Hi"), ("assistant", "Hello"))

CORPORA: dict[str, tuple[dict[str, bytes], str]] = {
    "an empty folder": ({}, r"texts: holds no file to read but nothing; expected .*\.jsonl"),
    "a folder of other files": ({"a.pdf": b"%PDF"}, r"texts: holds no file to read but 1 × \.pdf"),
    "an empty file": ({"a.txt": b""}, r"every file is empty"),
    "a binary file": ({"a.txt": b"\x00\x01\x02\xff" * 50}, r"a\.txt:1: .*binary"),
    "another encoding": ({"a.txt": "天下大势分久必合\n".encode("gb18030")}, r"a\.txt:1: .*gb18030"),
    "broken JSON": ({"a.jsonl": b'{"text": "a"}\n{"text": "b"\n'}, r"a\.jsonl:2: is not JSON at column"),
    "no object": ({"a.jsonl": b"[1]\n"}, r"a\.jsonl:1: holds list \[1\]; each line must be one JSON object"),
    "a missing field": ({"a.jsonl": b'{"txt": "a"}\n'}, r"a\.jsonl:1: has no field 'text' but \['txt'\]"),
    "a field of another type": ({"a.jsonl": b'{"text": 5}\n'}, r"a\.jsonl:1: field 'text' is int 5"),
    "half a surrogate pair": ({"a.jsonl": b'{"text": "a\\ud800"}\n'}, r"a\.jsonl:1.*surrogate"),
    "a truncated archive": (
        {"a.jsonl.gz": b"\x1f\x8b\x08\x00\x00"},
        r"a\.jsonl\.gz:1: the gzip stream is broken",
    ),
    "no Parquet": ({"a.parquet": b"PAR1"}, r"a\.parquet: is no readable Parquet file"),
}


@pytest.mark.parametrize("name", CORPORA)
def test_texts_that_cannot_be_read_are_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    content, message = CORPORA[name]
    (tmp_path / "texts").mkdir()
    for file, data in content.items():
        (tmp_path / "texts" / file).write_bytes(data)
    told = refusal(capsys, "tokenizer", f"texts={tmp_path}/texts", f"out={tmp_path}/out")
    assert re.search(message, told), told
    assert not (tmp_path / "out").exists()


CHATS: dict[str, tuple[str, str]] = {
    "roles that do not alternate": (
        GOOD + turns(("user", "a"), ("user", "b"), ("assistant", "c")),
        r"chats\.jsonl:2.*turn 2 is from 'user' like turn 1; roles must alternate",
    ),
    "an unknown role": (turns(("robot", "a"), ("assistant", "b")), r"chats\.jsonl:1.*'robot'"),
    "nothing for the assistant to learn": (turns(("user", "a")), r"chats\.jsonl:1"),
    "an answer cut away by the context": (
        GOOD + turns(("user", "a"), ("assistant", "b" * 500)),
        r"chats\.jsonl:2.*shorten it, raise seq_len",
    ),
    "an unknown shape": ('{"foo": "a", "bar": "b"}\n', r"chats\.jsonl:1"),
    "content that is no text": ('{"messages": [{"role": "user", "content": 3}]}\n', r"chats\.jsonl:1.*3"),
}


@pytest.mark.parametrize("name", CHATS)
def test_chats_that_cannot_be_learned_are_refused(
    name: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    content, message = CHATS[name]
    data = tmp_path / "chats.jsonl"
    data.write_text(content, encoding="utf-8")
    told = refusal(capsys, "sft", f"base={base}", f"data={data}", f"out={tmp_path}/out", "seq_len=64")
    assert re.search(message, told), told
    assert not (tmp_path / "out" / "model").exists()


COMPARISONS: dict[str, tuple[dict[str, object], str]] = {
    "a rank too few": ({"completions": ["a", "b"], "ranks": [1]}, r"rankings\.jsonl:1"),
    "one completion": ({"completions": ["a"], "ranks": [1]}, r"rankings\.jsonl:1"),
    "a rank that is no number": ({"completions": ["a", "b"], "ranks": [1, "x"]}, r"rankings\.jsonl:1"),
    "completions that are no texts": ({"completions": ["a", 7], "ranks": [1, 2]}, r"rankings\.jsonl:1"),
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_rankings_that_cannot_be_learned_are_refused(
    name: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    fields, message = COMPARISONS[name]
    data = tmp_path / "rankings.jsonl"
    data.write_text(json.dumps({"prompt": [{"role": "user", "content": "Hi"}], **fields}), encoding="utf-8")
    told = refusal(capsys, "reward", f"base={base}", f"comparisons={data}", f"out={tmp_path}/out")
    assert re.search(message, told), told


def pad_as_eos(base: Path) -> None:
    change_json(
        base / "tokenizer.json", lambda tree: tree["added_tokens"][1].update(id=tree["added_tokens"][0]["id"])
    )


def another_tokenizer(base: Path) -> None:
    Tokenizer.train(["other words"] * 3, 280).save(base)


def cut_weights(base: Path) -> None:
    path = base / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def foreign_architecture(base: Path) -> None:
    change_json(base / "config.json", lambda tree: tree.update(architectures=["FooForCausalLM"]))


def code_of_its_own(base: Path) -> None:
    (base / "own.py").write_text("raise SystemExit")
    change_json(
        base / "config.json",
        lambda tree: tree.update(architectures=["Own"], auto_map={"AutoModelForCausalLM": "own.Own"}),
    )


def change_json(path: Path, change: Callable[[dict], object]) -> None:
    tree = json.loads(path.read_text(encoding="utf-8"))
    change(tree)
    path.write_text(json.dumps(tree), encoding="utf-8")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "PAD equal to EOS": (pad_as_eos, r"tokenizer\.json: control tokens are"),
    "another tokenizer": (another_tokenizer, r"the model knows 308 tokens and the tokenizer \d+"),
    "no tokenizer": (lambda base: (base / "tokenizer.json").unlink(), r"holds no tokenizer\.json"),
    "truncated weights": (cut_weights, r"model\.safetensors"),
    "weights that are none": (
        lambda base: (base / "model.safetensors").write_bytes(b"no"),
        r"model\.safetensors",
    ),
    "no weights": (lambda base: (base / "model.safetensors").unlink(), r"model\.safetensors"),
    "a broken config": (lambda base: (base / "config.json").write_text("{"), r"config\.json is not JSON"),
    "an unknown architecture": (
        foreign_architecture,
        r"'FooForCausalLM' is not supported; these are: LlamaForCausalLM, .*BertForMaskedLM",
    ),
    "code of its own": (code_of_its_own, r"its auto_map names code of its own, which is never run"),
    "a pickle": (
        lambda base: shutil.move(base / "model.safetensors", base / "pytorch_model.bin"),
        r"holds pytorch_model\.bin and no model\.safetensors.*convert it elsewhere",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("command", ["generate", "sft"])
def test_a_damaged_model_directory_is_refused(
    command: str, name: str, base: Path, kit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    damage, message = DAMAGES[name]
    damage(base)
    words = {
        "generate": [str(base), "Hi"],
        "sft": [f"base={base}", f"data={kit.chats}", f"out={tmp_path}/out"],
    }
    told = refusal(capsys, command, *words[command])
    assert re.search(message, told), told
    assert not (tmp_path / "out").exists()


def test_shards_of_another_tokenizer_are_refused(kit, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    Tokenizer.train(["other words"] * 3, 280).save(tmp_path / "tokenizer")
    told = refusal(
        capsys, "pretrain", f"tokenizer={tmp_path}/tokenizer", f"shards={kit.shards}", f"out={tmp_path}/out"
    )
    assert "tokenizer" in told
    assert not (tmp_path / "out").exists()


PRETRAIN = [
    "model={d_model = 32, n_layers = 1, n_heads = 2, n_kv_heads = 1, head_dim = 16, d_ff = 32}",
    "batch_size=2",
    "seq_len=32",
    "loop.n_steps=2",
    "eval_every=9",
    "sample_prompts=[]",
]


def test_a_run_is_not_gone_on_with_under_other_settings(
    kit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = [*PRETRAIN, f"tokenizer={kit.tokenizer}", f"shards={kit.shards}", f"out={tmp_path}/out"]
    assert main(["pretrain", *words]) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    told = refusal(capsys, "pretrain", *words, "optim.lr=0.5")
    assert "optim.lr was 0.004, is 0.5" in told
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_an_impossible_relation_is_refused(kit, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = [*PRETRAIN, f"tokenizer={kit.tokenizer}", f"shards={kit.shards}", f"out={tmp_path}/out"]
    told = refusal(capsys, "pretrain", *words, "model.n_heads=3", "model.n_kv_heads=2")
    assert "model.n_heads is 3; it must be a multiple of model.n_kv_heads, 2" in told


def test_a_prompt_longer_than_the_context_is_refused_by_ppo(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(
        json.dumps({"id": "long", "messages": [{"role": "user", "content": "z" * 500}]}), encoding="utf-8"
    )
    tokenizer = Tokenizer.load(base)
    publish(ScoreModel(SHAPE.model_config(tokenizer.vocab_size), seed=0), tokenizer, tmp_path / "reward")
    words = [f"policy={base}", f"reward_model={tmp_path}/reward", f"prompts={prompts}", f"out={tmp_path}/out"]
    told = refusal(capsys, "ppo", *words)
    assert re.search(r"prompts\.jsonl:1|long", told), told


DPO: dict[str, tuple[list[str], str]] = {
    "no comparisons": ([], r"comparisons is not set; objective.variant 'dpo' needs it"),
    "no thumbs": (["objective.variant=kto"], r"ratings is not set; objective.variant 'kto' needs it"),
    "comparisons for kto": (
        ["objective.variant=kto", "ratings={ratings}", "comparisons={comparisons}"],
        r"comparisons is set; objective.variant 'kto' learns from ratings only",
    ),
    "thumbs for dpo": (["comparisons={ratings}"], r"ratings\.jsonl:1: .*which is no comparison"),
    "comparisons as thumbs": (
        ["objective.variant=kto", "ratings={comparisons}"],
        r"comparisons\.jsonl:1: .*which is no chat",
    ),
    "a knob of another variant": (
        ["comparisons={comparisons}", "objective.target_margin=1"],
        r"objective.target_margin is 1.0, but dpo has no such knob; it has beta, label_smoothing, nll_coef",
    ),
    "a variant that is none": (["objective.variant=simpro"], r"got 'simpro'; did you mean 'simpo'"),
    "a comparison longer than max_len": (
        ["comparisons={comparisons}", "max_len=20"],
        r"comparisons\.jsonl:1: prompt and completion are \d+ tokens long; at most max_len, 20",
    ),
}


@pytest.mark.parametrize("name", DPO)
def test_preferences_that_cannot_be_learned_are_refused(
    name: str, base: Path, kit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words, message = DPO[name]
    words = [word.format(ratings=kit.ratings, comparisons=kit.comparisons) for word in words]
    told = refusal(capsys, "dpo", f"policy={base}", f"out={tmp_path}/out", *words)
    assert re.search(message, told), told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("variant", "records", "message"),
    [
        ("dpo", [{"completions": ["a", "b"], "ranks": [1, 1]}] * 2, "each of the 2 comparisons is a tie"),
        ("kto", [{"completion": "a", "thumb": "up"}] * 2, r"all 2 thumbs are up; KTO needs both kinds"),
        (
            "kto",
            [{"completion": "a", "thumb": thumb} for thumb in ("up", "down")],
            "all 2 ratings are of one prompt",
        ),
        (
            "dpo",
            [{"completions": ["a", ""], "ranks": [1, 2], "unfinished": [False, True]}],
            r"records\.jsonl:1: a completion has no token",
        ),
    ],
)
def test_preferences_that_say_nothing_are_refused_before_anything_is_written(
    variant: str,
    records: list[dict[str, object]],
    message: str,
    base: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    data = tmp_path / "records.jsonl"
    data.write_text("\n".join(json.dumps({"prompt": "Hi", **each}) for each in records), encoding="utf-8")
    words = [f"policy={base}", f"out={tmp_path}/out", f"objective.variant={variant}"]
    words += [f"{'ratings' if variant == 'kto' else 'comparisons'}={data}"]
    told = refusal(capsys, "dpo", *words)
    assert re.search(message, told), told
    assert not (tmp_path / "out").exists()


def test_a_language_model_is_no_reward_model(
    base: Path, kit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = [f"policy={base}", f"reward_model={base}", f"prompts={kit.prompts}", f"out={tmp_path}/out"]
    assert "holds a LanguageModel; a ScoreModel is needed here" in refusal(capsys, "ppo", *words)


@pytest.mark.parametrize(
    ("stage", "settings", "message"),
    [
        ("sft", ("adapter.kind=lora", "adapter.targets=wq"), "targets: no linear layer is named 'wq'"),
        ("sft", ("seq_len=4",), r"seq_len"),
        ("reward", ("adapter.kind=lora", "adapter.targets=wq"), "targets: no linear layer is named 'wq'"),
    ],
)
def test_what_is_found_wrong_late_leaves_no_run_behind(
    stage: str, settings: tuple[str, ...], message: str, kit, base: Path, tmp_path: Path, capsys
):
    data = f"data={kit.chats}" if stage == "sft" else f"comparisons={kit.comparisons}"
    out = tmp_path / "out"
    assert re.search(message, refusal(capsys, stage, f"base={base}", data, f"out={out}", *settings))
    assert not out.exists()
