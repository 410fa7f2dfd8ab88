"""A base taken further: what is learnt and forgotten, a vocabulary that grows, and what follows it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from shutil import copy, copytree

import pytest
import torch
from open_tokenizers import as_qwen
from safetensors.torch import load_file
from test_resume import Cut, cut_after, metrics, sft_config

from danlu.cli import main
from danlu.config import ConfigError
from danlu.data.pipeline import CleaningConfig
from danlu.data.records import DataError
from danlu.model.hf import load_language_model
from danlu.recipes import pretrain, sft
from danlu.recipes.continued import ContinueConfig
from danlu.recipes.pretrain import PretrainConfig, choose
from danlu.tokenizer.bpe import Tokenizer, TokenizerError
from danlu.train.loop import LoopConfig
from danlu.train.optim import OptimConfig
from danlu.train.schedule import ScheduleConfig


@pytest.fixture(scope="module")
def base(kit):
    """A base that knows colours, and text of a team that speaks of turbines."""
    pretrain.run(kit.pretrain_config(kit.root / "known", 40))
    for name, line in (("general", "The {} is blue. 天是蓝的。"), ("team", "涡轮叶片 {} turbine blade.")):
        folder = kit.root / name
        folder.mkdir()
        for split, n in (("train", 120), ("held_out", 12)):
            lines = [json.dumps({"text": line.format(i % 9), "lang": "en"}) for i in range(n)]
            (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return kit


def config_of(kit, out: Path, **changed) -> ContinueConfig:
    usual = {
        "base": kit.root / "known",
        "data": (kit.root / "team",),
        "general": (kit.root / "general",),
        "batch_size": 4,
        "seq_len": 32,
        "loop": LoopConfig(n_steps=30),
        "optim": OptimConfig(lr=1e-2),
        "schedule": ScheduleConfig(warmup_steps=4),
        "eval_every": 10,
        "save_every": 7,
    }
    return ContinueConfig(out=out, **{**usual, **changed})


def bits(out: Path, when: str, text: str) -> float:
    return json.loads((out / "summary.json").read_text())[when][text]["bits_per_byte"]["all"]


def test_replay_keeps_what_was_known_while_the_new_is_learnt(base, tmp_path: Path):
    with_replay = pretrain.run(config_of(base, tmp_path / "with", replay=0.5))
    without = pretrain.run(config_of(base, tmp_path / "without", replay=0.0))
    for out in (with_replay, without):
        assert bits(out, "after", "new") < 0.5 * bits(out, "before", "new")
        summary = json.loads((out / "summary.json").read_text())
        for text in ("new", "general"):
            change = bits(out, "after", text) - bits(out, "before", text)
            assert summary["change"][text] == pytest.approx(change)
        lines = [line for line in metrics(out) if "held_out" in line]
        assert [line["step"] for line in lines][:4] == [0, 10, 20, 30]
        assert lines[0]["held_out"]["new"]["bits_per_byte"]["all"] == bits(out, "before", "new")
        assert lines[-1]["held_out"]["general"]["bits_per_byte"]["all"] == bits(out, "after", "general")
        page = (out / "report.html").read_text(encoding="utf-8")
        assert f'value="{bits(out, "after", "general")!r}"' in page
        assert "<script" not in page
    assert bits(with_replay, "after", "general") < bits(without, "after", "general")


def test_the_rate_warms_up_again(base, tmp_path: Path):
    out = pretrain.run(config_of(base, tmp_path / "run", loop=LoopConfig(n_steps=10)))
    rates = [line["lr"] for line in metrics(out) if "lr" in line]
    # Up within four updates, then all of it until half of the run is done, then down to nothing.
    wanted = [0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2]
    assert rates == pytest.approx([1e-2 * each for each in wanted])


def test_a_vocabulary_grows_and_all_that_follows_works(base, tmp_path: Path):
    out = pretrain.run(config_of(base, tmp_path / "grown", new_tokens=12, min_count=5))
    old, new = Tokenizer.load(base.tokenizer), Tokenizer.load(out / "model")
    assert new.vocab_size == old.vocab_size + 12
    assert len(new.encode("涡轮叶片 turbine blade.")) < len(old.encode("涡轮叶片 turbine blade."))
    model = load_language_model(out / "model", vocab_size=new.vocab_size)
    # The same bytes are counted before and after, whatever the tokens.
    summary = json.loads((out / "summary.json").read_text())
    assert summary["before"]["new"]["eval_bytes"] == summary["after"]["new"]["eval_bytes"]
    assert summary["before"]["new"]["eval_tokens"] > summary["after"]["new"]["eval_tokens"]
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out / "model", dtype=torch.float32).eval()
    reader = transformers.AutoTokenizer.from_pretrained(out / "model")
    ids = reader("涡轮叶片 turbine <|im_end|>", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, model(ids), atol=1e-4, rtol=0)
    chat = sft.run(replace(sft_config(base, tmp_path / "sft"), base=out / "model"))
    assert Tokenizer.load(chat / "model").fingerprint == new.fingerprint


def test_a_run_that_was_cut_goes_on_bit_for_bit(base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = config_of(base, tmp_path / "whole", new_tokens=4, min_count=5, replay=0.3)
    whole = pretrain.run(config)
    cut = replace(config, out=tmp_path / "cut")
    cut.out.mkdir()
    copy(whole / "machine.json", cut.out)
    with pytest.MonkeyPatch.context() as patch:
        cut_after(patch, 17)
        with pytest.raises(Cut):
            pretrain.run(cut)
    pretrain.run(cut)
    a, b = (load_file(out / "model" / "model.safetensors") for out in (whole, cut.out))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_raw_text_is_cleaned_and_divided_first(base, tmp_path: Path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for name in ("calculator", "doctor", "tokenizer", "run", "search", "sft", "chat", "sql"):
        copy(Path(__file__).parents[2] / "docs" / f"{name}.md", folder)
    cleaning = CleaningConfig(held_out=0.3)
    config = config_of(base, tmp_path / "run", data=(folder,), general=(), cleaning=cleaning)
    out = pretrain.run(config)
    assert (out / "text" / "new" / "account.json").exists()
    assert bits(out, "after", "new") < bits(out, "before", "new")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seq_len": 999}, r"seq_len is 999; the base reads up to 128 tokens"),
        ({"replay": 1.0}, r"replay is 1\.0; it must be at least 0 and below 1"),
        ({"data": ()}, "data is empty"),
        ({"new_tokens": -1}, "new_tokens is -1"),
    ],
)
def test_settings_that_cannot_be_are_refused(base, tmp_path: Path, changed, message: str):
    with pytest.raises(ConfigError, match=message):
        pretrain.run(config_of(base, tmp_path / "run", **changed))
    assert not (tmp_path / "run").exists()


def test_a_base_with_another_tokenizer_is_refused(base, tmp_path: Path):
    folder = tmp_path / "other"
    copytree(base.root / "known" / "model", folder)
    (folder / "tokenizer.json").write_text('{"model": {"type": "WordPiece", "vocab": {}}}')
    with pytest.raises(TokenizerError, match="not a byte-level BPE tokenizer"):
        pretrain.run(config_of(base, tmp_path / "run", base=folder))


def test_open_weights_with_their_own_tokenizer_go_on_and_learn_to_chat(base, tmp_path: Path):
    from danlu.model.heads import LanguageModel
    from danlu.model.hf import save_model
    from danlu.model.presets import QWEN2

    folder = tmp_path / "open"
    folder.mkdir()
    theirs = as_qwen(["The sky is blue. 天是蓝的。"] * 9, folder)
    sizes = {"d_model": 32, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "head_dim": 16, "d_ff": 64}
    n = theirs.get_vocab_size()
    save_model(LanguageModel(QWEN2(vocab_size=n + 7, max_seq_len=128, **sizes)), folder)
    out = pretrain.run(config_of(base, tmp_path / "run", base=folder, new_tokens=3, min_count=5))
    tokenizer = Tokenizer.load(out / "model")
    assert (tokenizer.pad_id, tokenizer.vocab_size) == (n, n + 4)
    assert tokenizer.im_end_id == theirs.token_to_id("<|im_end|>")
    assert bits(out, "after", "new") < bits(out, "before", "new")
    chat = sft.run(replace(sft_config(base, tmp_path / "sft"), base=out / "model"))
    assert load_language_model(chat / "model").config.vocab_size == n + 4


def test_a_text_without_a_held_out_part_is_refused(base, tmp_path: Path):
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "held_out.jsonl").write_text("")
    with pytest.raises(DataError, match=r"held_out\.jsonl: is empty"):
        pretrain.run(config_of(base, tmp_path / "run", data=(tmp_path,)))


def test_the_words_say_which_settings_are_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "more.toml"
    file.write_text('base = "runs/demo/pretrain"\n')
    assert choose(["tokenizer=a", "shards=b", "out=c"])[0] is PretrainConfig
    for words in (["base=a", "data=b"], ["--base", "a"], [str(file)]):
        assert choose(words)[0] is ContinueConfig
    assert main(["pretrain", "--help"]) == 0
    assert re.search(r"^  shards +\(required\)", capsys.readouterr().out, re.MULTILINE)
    assert main(["pretrain", "base=a", "--help"]) == 0
    assert re.search(r"^  replay +0\.2 ", capsys.readouterr().out, re.MULTILINE)
