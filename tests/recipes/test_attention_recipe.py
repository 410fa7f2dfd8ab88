"""`danlu attention` as a whole: what it writes, that nothing in it can run, and what it refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import image

from danlu.cli import main, settings
from danlu.config import ConfigError, build, to_tree
from danlu.data.pairs import Languages
from danlu.generate.beam import BeamConfig
from danlu.inspect.attention import LayerWeights
from danlu.inspect.head_pictures import CHINESE_FONTS, Panel, cells, chinese_fonts, draw
from danlu.inspect.reader import WordError
from danlu.model.encoder_heads import MaskedLanguageModel
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import save_model
from danlu.model.presets import BERT, QWEN3, TRANSFORMER
from danlu.model.translation import TranslationModel
from danlu.recipes import attention
from danlu.recipes.attention import AttentionConfig
from danlu.recipes.attention_page import strongest
from danlu.recipes.translator import Translator, load_translator
from danlu.tokenizer.bpe import Tokenizer

TEXT = "它累了 <script>alert(1)</script> & <|im_end|> it 难"
SIZES = {"d_model": 16, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "head_dim": 8, "d_ff": 24}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("looked")
    tokenizer = Tokenizer.train(["it was tired 它累了 script alert"] * 4, 300)
    for name, kind in (("decoder", LanguageModel), ("score", ScoreModel)):
        tokenizer.save(folder / name)
        save_model(kind(QWEN3(vocab_size=tokenizer.vocab_size, max_seq_len=64, **SIZES)), folder / name)
    return folder


def config_of(folder: Path, out: Path, **changed) -> AttentionConfig:
    return AttentionConfig(**{"model": folder / "decoder", "text": TEXT, "out": out, **changed})


class Elements(HTMLParser):
    """Which elements a page has, what they refer to, and the text of it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            assert not key.startswith("on"), (tag, key)
            if key in ("src", "href"):
                self.targets.append(value or "")
            if key == "id":
                self.ids.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_everything_is_written_and_nothing_in_the_page_runs_or_fetches(folder: Path, tmp_path: Path):
    attention.run(config_of(folder, tmp_path, other=TEXT.replace("it", "was"), from_="it", to="它"))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"attention.html", "heads-1.png", "heads-2.png", "between.png", "difference.png"}
    page = Elements((tmp_path / "attention.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert "alert(1)" in page.text
    assert all(target.startswith(("#", "data:image/png;base64,")) for target in page.targets)
    assert len(page.ids) == len(set(page.ids))
    assert {target[1:] for target in page.targets if target.startswith("#")} <= set(page.ids)
    # Of two texts and their difference two layers of two heads each, and six at most between the words.
    assert page.tags.count("image") == 3 * 2 * 2 + 4


def test_what_looks_like_a_control_token_is_read_as_text(folder: Path, tmp_path: Path):
    looked = attention.look(*attention.opened(folder / "decoder"), TEXT, config_of(folder, tmp_path))
    assert [piece.span is None for piece in looked.pieces] == [True] + [False] * (len(looked.pieces) - 1)
    assert [label for label in looked.labels if label.startswith("难")] == ["难₁", "难₂", "难₃"]


def test_pictures_show_the_weights_and_chinese(folder: Path, tmp_path: Path):
    weights = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    (tmp_path / "head.png").write_bytes(cells(weights))
    shown = image.imread(tmp_path / "head.png")
    np.testing.assert_allclose(shown[..., 3], weights.sqrt().numpy(), atol=1 / 255)
    signed = tmp_path / "signed.png"
    signed.write_bytes(cells(weights - 0.5, signed=True))
    colours = image.imread(signed)[..., :3]
    assert (colours[0, 0] == colours[1, 1]).all()
    assert (colours[0, 1] != colours[0, 0]).any()
    panels = [[Panel(title="0.0", weights=weights, rows=["它", "累$"], columns=["它", "累$"])]]
    if not chinese_fonts():
        pytest.skip(f"none of {CHINESE_FONTS} is installed")
    draw(panels, tmp_path / "chinese.png", title="它累了")  # a character without a font would be a warning
    blank = [[replace(panels[0][0], rows=["", ""], columns=["", ""])]]
    draw(blank, tmp_path / "blank.png", title="它累了")
    assert (tmp_path / "chinese.png").read_bytes() != (tmp_path / "blank.png").read_bytes()


def test_a_score_model_is_seen_too_but_expects_nothing(folder: Path, tmp_path: Path):
    attention.run(config_of(folder, tmp_path, model=folder / "score"))
    page = (tmp_path / "attention.html").read_text(encoding="utf-8")
    assert 'id="heads1"' in page
    assert 'id="tokens1"' not in page
    assert 'id="lens1"' not in page


def test_an_encoder_is_asked_for_masked_words(tmp_path: Path):
    import tokenizers
    from tokenizers import models, pre_tokenizers, processors

    names = ["[UNK]", "[CLS]", "[SEP]", "[MASK]", "it", "was", "tired"]
    words = tokenizers.Tokenizer(models.WordPiece(dict(zip(names, range(7), strict=True)), unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    words.add_special_tokens(names[1:4])
    save_model(MaskedLanguageModel(BERT(vocab_size=7, max_seq_len=16, **SIZES)), tmp_path)
    words.save(str(tmp_path / "tokenizer.json"))
    model, reader = attention.opened(tmp_path)
    looked = attention.look(model, reader, "it was tired", config_of(tmp_path, tmp_path))
    assert looked.labels == ["[CLS]", "it", "was", "tired", "[SEP]"]
    assert [each.at for each in looked.expected] == [1, 2, 3]
    assert looked.masked
    with pytest.raises(ConfigError, match="it has 2 tokens; it must have from 3 to 16 "):
        attention.look(model, reader, "", config_of(tmp_path, tmp_path))


def test_strongest_pairs_by_hand():
    weights = torch.tensor([[0.1, -0.9], [0.4, 0.2]])
    assert [(row, column) for row, column, _ in strongest(weights)] == [(0, 1), (1, 0), (1, 1), (0, 0)]
    assert strongest(weights)[0][2] == pytest.approx(-0.9)


def test_parts_of_a_model_are_drawn_apart(tmp_path: Path):
    layers = [
        LayerWeights(stack=stack, kind=kind, layer=0, weights=torch.eye(3, n)[None])
        for stack, kind, n in (("encoder", "self", 3), ("decoder", "self", 3), ("decoder", "cross", 2))
    ]
    names = ["a", "b", "c"]
    sided = [(each, (names, names[: each.weights.shape[2]])) for each in layers]
    written = attention.draw_layers(sided, tmp_path, "heads", "title")
    assert [path.name for path in written] == [
        "heads-encoder.png",
        "heads-decoder.png",
        "heads-decoder-cross.png",
    ]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"text": "it " * 80}, ConfigError, r"text: it has \d+ tokens; it must have from 3 to 64"),
        ({"max_tokens": 4}, ConfigError, r"it must have from 3 to 4 to be drawn, control"),
        ({"from_": "it", "to": "animal"}, WordError, "'animal' is not in the text"),
    ],
)
def test_what_cannot_be_drawn_is_refused(folder: Path, tmp_path: Path, changed, error, message: str):
    with pytest.raises(error, match=message):
        attention.run(config_of(folder, tmp_path / "out", **changed))
    assert not (tmp_path / "out").exists()


def test_from_needs_to():
    with pytest.raises(ConfigError, match="from is set but to is not"):
        AttentionConfig(model=Path("m"), text="a", from_="a")


def test_a_setting_may_be_called_from():
    tree = {"model": "m", "text": "it was", "from": "it", "to": "was"}
    config = build(AttentionConfig, tree)
    assert config.from_ == "it"
    assert to_tree(config)["from"] == "it"
    assert build(AttentionConfig, {"to": "it"}, base=config).from_ == "it"
    assert "from" in {row.key for row in settings(AttentionConfig)}
    with pytest.raises(ConfigError, match="from_: unknown key"):
        build(AttentionConfig, {**tree, "from_": "it"})


def test_the_command_line_tells_what_was_found(folder: Path, tmp_path: Path, capsys):
    words = ["attention", str(folder / "decoder"), "it was tired", "from=tired", "to=it", f"out={tmp_path}"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert re.search(r"from 'tired' to 'it'", shown)
    assert re.search(r"^\(next\)", shown, re.MULTILINE)
    assert str(tmp_path / "between.png") in shown


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translator") / "model"
    tokenizer = Tokenizer.train(["the animal was tired 动物累了 >>zh<< >>en<<"] * 4, 300)
    sizes = SIZES | {"vocab_size": tokenizer.vocab_size, "max_seq_len": 128}
    model = TranslationModel(TRANSFORMER(**sizes), seed=1)
    Translator(model, tokenizer, Languages(both_ways=True)).save(folder)
    return folder


def test_a_translator_is_drawn_in_its_three_parts(translator: Path, tmp_path: Path):
    words = {"text": "the animal was tired", "target": "动物累了", "from_": "动物", "to": "animal"}
    attention.run(config_of(translator, tmp_path, model=translator, **words))
    names = {path.name for path in tmp_path.iterdir()}
    pictures = {"heads-encoder.png", "heads-decoder.png", "heads-decoder-cross.png", "between.png"}
    assert names == {"attention.html"} | pictures
    page = (tmp_path / "attention.html").read_text(encoding="utf-8")
    found = Elements(page)
    assert len(found.ids) == len(set(found.ids))
    assert {target[1:] for target in found.targets if target.startswith("#")} <= set(found.ids)
    assert (
        found.tags.count("image") == 3 * 2 * 2 + 4
    )  # the parts' heads, and cross attention between the words
    assert "交叉注意力：译文看源句" in page
    assert "Cross attention: the translation looks at the source" in page


def test_a_translator_reads_the_wish_for_a_language_and_both_ends(translator: Path, tmp_path: Path):
    config = config_of(translator, tmp_path, model=translator, target="动物累了")
    looked = attention.looker(config)("the animal was tired")
    assert looked.read["source"].text == ">>zh<< the animal was tired"
    end = looked.read["source"].pieces[-1]
    assert end.span is None
    assert looked.read["text"].pieces[0] == end
    assert {layer.weights.shape[1:] for layer in looked.layers if layer.kind == "cross"} == {
        (len(looked.pieces), len(looked.read["source"].pieces))
    }
    assert [each.at for each in looked.expected] == list(range(1, len(looked.pieces) + 1))
    assert len(looked.lens) == 3
    untold = attention.looker(replace(config, target=None))("the animal was tired")
    (said,) = load_translator(translator).translate(["the animal was tired"], "zh", BeamConfig())
    assert untold.read["text"].text == said


def test_words_are_looked_up_in_every_text_that_is_read(translator: Path, tmp_path: Path):
    config = config_of(translator, tmp_path, model=translator, target="animal 动物", from_="animal", to="the")
    looked = attention.looker(config)("the animal")
    found = attention.between(looked, config)
    assert found is not None
    # The source looks at itself, and the translation at the source.
    assert {(each.stack, each.kind) for each in found[2]} == {("encoder", "self"), ("decoder", "cross")}
    assert [each.score for each in found[2]] == sorted((each.score for each in found[2]), reverse=True)
    with pytest.raises(WordError, match="no head looks from 'the' to '动物'"):
        attention.between(looked, replace(config, from_="the", to="动物"))


def test_two_translations_are_compared_part_by_part(translator: Path, tmp_path: Path):
    words = {"text": "the animal was tired", "other": "the animal was big", "target": "动物累了"}
    attention.run(config_of(translator, tmp_path, model=translator, **words))
    names = {path.name for path in tmp_path.iterdir()}
    parts = ("encoder", "decoder", "decoder-cross")
    assert {f"difference-{part}.png" for part in parts} <= names
    assert {f"heads-{side}-{part}.png" for side in (1, 2) for part in parts} <= names


def test_target_is_for_translators(folder: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="target and into are for models that translate"):
        attention.run(config_of(folder, tmp_path / "out", target="它"))
    assert not (tmp_path / "out").exists()
