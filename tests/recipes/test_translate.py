"""`danlu translate` in miniature: trained on pairs, cut off and resumed, used, scored; what is refused."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from pathlib import Path
from shutil import copy

import pytest
import torch
from safetensors.torch import load_file

from danlu.cli import main
from danlu.config import ConfigError
from danlu.data.pairs import Languages
from danlu.generate.beam import BeamConfig, translate
from danlu.model.presets import TRANSFORMER
from danlu.model.translation import TranslationModel
from danlu.objectives.token_loss import SmoothedTokenLoss
from danlu.recipes.stage import Stage
from danlu.recipes.translation import TrainTranslator, TranslatorShape, train_translator
from danlu.recipes.translator import load_translator
from danlu.train.optim import OptimConfig
from danlu.train.schedule import ScheduleConfig

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("DANLU_DATA", ROOT.parent / "shared" / "data"))
WORDS = {"one": "一", "two": "二", "three": "三", "four": "四", "five": "五", "six": "六"}
TINY = TranslatorShape(d_model=32, n_layers=1, n_heads=2, d_ff=64, max_seq_len=64)


class Cut(Exception):
    """Stands for whatever ended the run."""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(0)
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for _ in range(200):
            words = rng.choices(list(WORDS), k=rng.randint(1, 5))
            line = {"en": " ".join(words), "zh": "".join(WORDS[word] for word in words)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return path


def settings(pairs: Path, out: Path, **changed: object) -> TrainTranslator:
    defaults = {
        "languages": Languages(both_ways=True),
        "held_out_share": 0.1,
        "vocab_size": 300,
        "model": TINY,
        "max_len": 32,
        "batch_tokens": 256,
        "n_epochs": 2.0,
        "schedule": ScheduleConfig(warmup_steps=3),
        "beam": BeamConfig(beam_size=2, max_extra_tokens=4),
        "eval_every": 5,
        "save_every": 3,
    }
    return TrainTranslator(pairs=(pairs,), out=out, **(defaults | changed))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_translator(settings(pairs, tmp_path_factory.mktemp("run") / "run"))


def test_what_was_trained_says_how_good_it_is(trained: Path):
    summary = json.loads((trained / "summary.json").read_text())
    assert set(summary["scores"]) == {"en-zh", "zh-en"}
    assert "tok:zh" in summary["scores"]["en-zh"]["BLEU"]["signature"]
    assert "tok:13a" in summary["scores"]["zh-en"]["BLEU"]["signature"]
    assert summary["n_pairs"] + summary["n_held_out"] <= 200
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    losses = [line["nll"] for line in lines if "nll" in line]
    assert losses[-1] < losses[0]
    assert any("held_out_loss" in line for line in lines)


def test_a_text_and_a_file_are_translated_line_by_line(trained: Path, tmp_path: Path, capsys):
    assert main(["translate", str(trained), "one two"]) == 0
    one = capsys.readouterr().out
    assert one.count("\n") == 1
    file = tmp_path / "texts.txt"
    file.write_text("one two\n\n三二\n", encoding="utf-8")
    assert main(["translate", str(trained), f"file={file}"]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 4
    assert lines[0] + "\n" == one
    assert lines[1] == ""
    translator = load_translator(trained)
    assert lines[2] == translator.translate(["三二"], "en", BeamConfig())[0]


def test_what_was_trained_is_scored_on_other_pairs(trained: Path, pairs: Path, tmp_path: Path, capsys):
    out = tmp_path / "scores.json"
    assert (
        main(["translate", "score", str(trained), f'pairs=["{pairs}"]', f"out={out}", "beam.beam_size=1"])
        == 0
    )
    assert capsys.readouterr().out.count("nrefs:1") == 4
    tree = json.loads(out.read_text())
    assert tree["n_pairs"] == 200
    assert set(tree["scores"]["en-zh"]) == {"BLEU", "chrF2"}


def test_every_form_shows_its_own_settings(capsys):
    first_lines = []
    for form in ("train", "score", "text"):
        assert main(["translate", form, "--help"]) == 0
        first_lines.append(capsys.readouterr().out.splitlines()[0])
    assert first_lines == [
        "danlu translate train [config.toml] [key=value …]",
        "danlu translate score MODEL [config.toml] [key=value …]",
        "danlu translate text MODEL TEXT [config.toml] [key=value …]",
    ]


def test_what_it_is_is_told_and_handed_on(trained: Path, tmp_path: Path, capsys):
    assert main(["model", str(trained)]) == 0
    told = capsys.readouterr().out
    assert "MarianMTModel" in told
    assert "cross-attention" in told
    assert main(["export", str(trained), str(tmp_path / "out"), "dtype=float32"]) == 0
    before, after = load_translator(trained), load_translator(tmp_path / "out")
    assert after.languages == before.languages
    assert after.translate(["three one"], "zh", BeamConfig()) == before.translate(
        ["three one"], "zh", BeamConfig()
    )


def test_transformers_translates_as_we_do(trained: Path):
    transformers = pytest.importorskip("transformers")
    translator = load_translator(trained)
    theirs = transformers.MarianMTModel.from_pretrained(trained / "model", dtype=torch.float32).eval()
    (source,) = translator.read(["two three one"], "zh")
    expected = theirs.generate(torch.tensor([source]), num_beams=1, do_sample=False, max_new_tokens=12)
    greedy = BeamConfig(beam_size=1, max_extra_tokens=12 - len(source))
    (found,) = translate(
        translator.model, [source], greedy, start_id=translator.markers.start, end_id=translator.markers.start
    )
    assert list(found[0].ids) == [i for i in expected[0].tolist()[1:] if i != translator.markers.start]


def test_a_run_that_was_cut_off_ends_bit_for_bit_as_one_that_was_not(
    trained: Path, pairs: Path, tmp_path: Path
):
    config = settings(pairs, tmp_path / "cut")
    config.out.mkdir()
    copy(trained / "machine.json", config.out)
    whole = Stage.updates

    def part(self):
        for number, update in enumerate(whole(self), start=1):
            yield update
            if number == 7:
                raise Cut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stage, "updates", part)
        with pytest.raises(Cut):
            train_translator(config)
    train_translator(config)
    a, b = (load_file(run / "model" / "model.safetensors") for run in (trained, config.out))
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_the_2017_schedule_trains_too(pairs: Path, tmp_path: Path):
    schedule = ScheduleConfig(kind="inverse_sqrt", warmup_steps=4)
    out = train_translator(
        settings(
            pairs, tmp_path / "run", optim=OptimConfig(lr=1e-3), schedule=schedule, languages=Languages()
        )
    )
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rates = [line["lr"] for line in lines if "lr" in line]
    assert rates[:5] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3 * (4 / 5) ** 0.5])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{run}", "one", "to=fr"], "to is 'fr'; this model translates into zh or en"),
        (["{run}"], "give either a text or file=, and not both"),
        (["{run}", "  "], "the text is empty"),
        ([], "name a model and a text, or begin with text or train or score"),
        (["{run}/tokenizer", "one"], "holds no translation.json"),
        (["train", 'pairs=["nowhere.jsonl"]', "out=x"], "nowhere.jsonl: does not exist"),
    ],
)
def test_bad_input_is_one_clear_line(trained: Path, words: list[str], message: str, capsys):
    assert main(["translate", *(word.replace("{run}", str(trained)) for word in words)]) == 2
    assert message in capsys.readouterr().err


def test_one_direction_needs_no_name_of_the_other(pairs: Path, tmp_path: Path):
    out = train_translator(settings(pairs, tmp_path / "run", languages=Languages()))
    translator = load_translator(out)
    assert translator.wanted("三二", None) == "zh"
    with pytest.raises(ConfigError, match="to is 'en'; this model translates into zh"):
        translator.wanted("三二", "en")


def solve(
    turned: bool, *, n_symbols: int, longest: int, n_updates: int, lr: float, shape: dict[str, int]
) -> float:
    """Share of unseen sequences that a model, trained to copy or to reverse, gets exactly right."""
    from danlu.data.translation import Markers, lay_out

    end, start, pad = 0, 1, 2
    rng = random.Random(0)

    def draw() -> tuple[list[int], list[int]]:
        source = [rng.randrange(3, 3 + n_symbols) for _ in range(rng.randint(1, longest))]
        return [*source, end], [*(source[::-1] if turned else source), end]

    unseen = [draw() for _ in range(50)]
    known = {tuple(source) for source, _ in unseen if len(source) > 4}
    model = TranslationModel(TRANSFORMER(vocab_size=3 + n_symbols, **shape), seed=0)
    objective = SmoothedTokenLoss(label_smoothing=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.0)
    for number in range(n_updates):
        drawn = [pair for pair in (draw() for _ in range(48)) if tuple(pair[0]) not in known]
        batch = lay_out(drawn, Markers(start=start, pad=pad))
        loss = objective(model, batch).terms["nll"].total / batch.loss_mask.sum()
        loss.backward()
        optimizer.param_groups[0]["lr"] = lr * min((number + 1) / 50, 1 - number / n_updates)
        optimizer.step()
        optimizer.zero_grad()
    found = translate(
        model.eval(), [source for source, _ in unseen], BeamConfig(), start_id=start, end_id=end
    )
    pairs = zip(found, unseen, strict=True)
    return sum([*hypotheses[0].ids, end] == target for hypotheses, (_, target) in pairs) / len(unseen)


SMALL = {"d_model": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 2, "head_dim": 16, "d_ff": 64}


@pytest.mark.parametrize("turned", [False, True])
def test_sequences_are_copied_and_reversed_exactly(turned: bool):
    assert solve(turned, n_symbols=6, longest=6, n_updates=400, lr=1e-2, shape=SMALL) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("turned", [False, True])
def test_long_sequences_of_many_symbols_are_copied_and_reversed_exactly(turned: bool):
    shape = {"d_model": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 4, "head_dim": 16, "d_ff": 128}
    assert solve(turned, n_symbols=40, longest=16, n_updates=1500, lr=3e-3, shape=shape) == 1.0


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "mt_tatoeba_en_zh").is_dir(), reason="the real data sets are not here")
def test_real_pairs_are_learnt(tmp_path: Path):
    out = train_translator(
        TrainTranslator(
            pairs=(DATA / "mt_tatoeba_en_zh",),
            out=tmp_path / "run",
            model=TranslatorShape(d_model=128, n_layers=2, d_ff=256),
            n_epochs=2.0,
            eval_every=100,
            beam=replace(BeamConfig(), beam_size=2),
        )
    )
    summary = json.loads((out / "summary.json").read_text())
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [line["held_out_loss"]["en-zh"] for line in lines if "held_out_loss" in line]
    assert summary["held_out_loss"]["en-zh"] < losses[0] - 0.5
    assert summary["scores"]["en-zh"]["chrF2"]["value"] > 5
