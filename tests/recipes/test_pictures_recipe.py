"""From drawn pictures to a model that is asked about them, with every command in between, in miniature."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from danlu.cli import main
from danlu.data.chats import read_chats
from danlu.data.sft import SftBatches
from danlu.evaluate.exam import load_results
from danlu.generate.sampling import SamplingConfig
from danlu.model.config import PatchConfig
from danlu.model.heads import LanguageModel
from danlu.model.hf import load_language_model, read_config
from danlu.recipes.conversation import Conversation
from danlu.recipes.pretrain import Shape
from danlu.recipes.sft import mean_nll
from danlu.recipes.speaker import load_speaker
from danlu.recipes.stage import chat_format_of, publish
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatError, images_of
from danlu.world.scene import draw, random_scene
from danlu.world.seeing import data_url, kind_of, png, seeing_questions
from danlu.world.splits import generator

SHAPE = Shape(d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=64, max_seq_len=512)
SIZES = PatchConfig(side=48, patch=16, d_model=16, n_layers=1, n_heads=2, d_ff=32)
EYE = [f"pictures.{name}={getattr(SIZES, name)}" for name in ("d_model", "n_layers", "n_heads", "d_ff")]
SMALL = ["batch_size=4", "seq_len=512", "sample_prompts=[]"]
GREEDY = ["sampling.temperature=0", "sampling.max_new_tokens=4"]


def asked(number: int) -> list[dict]:
    return list(seeing_questions("exam", 8, 0)[number].messages)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A base that reads text only, pictures to learn from, and what came of learning."""
    root = tmp_path_factory.mktemp("pictures")
    assert main(["pictures", str(root / "data"), "n_look=4", "n_find=4", "n_compare=24", "n_held_out=4"]) == 0
    texts = (root / "data" / "compare.jsonl").read_text(encoding="utf-8").splitlines()
    tokenizer = Tokenizer.train([json.loads(line)["messages"][1]["content"] for line in texts], 300)
    base = LanguageModel(SHAPE.model_config(tokenizer.vocab_size), seed=0)
    publish(base, tokenizer, root / "base")
    assert main(sft(root, "sees", "see=true", *EYE)) == 0
    return root


def sft(root: Path, out: str, *words: str, base: str = "base") -> list[str]:
    return [
        *("sft", f"base={root / base}", f"data={root / 'data' / 'compare.jsonl'}", f"out={root / out}"),
        *(f"held_out={root / 'data' / 'held_out.jsonl'}", *SMALL, *words),
    ]


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    capsys.readouterr()
    assert main(argv) == 2
    told = capsys.readouterr().err
    assert told.startswith("danlu: ")
    return told


def test_the_model_that_came_of_it_has_an_encoder_that_learnt(root):
    base, model = load_language_model(root / "base"), load_language_model(root / "sees" / "model")
    assert model.config.pictures == SIZES
    assert model.config.marker_id == base.config.vocab_size
    assert Tokenizer.load(root / "sees" / "model").image_id == model.config.marker_id
    fresh = LanguageModel(model.config, seed=0)
    assert model.backbone.eye is not None
    assert fresh.backbone.eye is not None
    for (name, learnt), drawn in zip(
        model.backbone.eye.named_parameters(), fresh.backbone.eye.parameters(), strict=True
    ):
        assert not torch.equal(learnt, drawn), name
    summary = json.loads((root / "sees" / "summary.json").read_text())
    assert summary["n_chats"] == 24
    assert summary["held_out_loss"] > 0


def test_it_learns_on_without_asking_for_an_encoder_and_a_second_one_is_refused(root, capsys):
    assert main(sft(root, "further", "n_epochs=0.2", base="sees/model")) == 0
    assert read_config(root / "further" / "model").pictures == SIZES
    told = refused(capsys, *sft(root, "twice", "see=true", base="sees/model"))
    assert "has an encoder of pictures already" in told
    assert not (root / "twice").exists()


def test_a_picture_of_the_batch_is_seen(root):
    """The loss of chats under their own pictures differs from that under each other's."""
    model = load_language_model(root / "sees" / "model").eval()
    chats = read_chats(root / "data" / "compare.jsonl", images=True)
    assert all(images_of(chat.messages) for chat in chats)
    batch = next(SftBatches(chats, chat_format_of(root / "sees" / "model", sees=True), 8, 512, 0))
    assert batch.pictures is not None
    assert int((batch.input_ids == model.config.marker_id).sum()) == 9 * len(batch.pictures)
    with torch.no_grad():
        other = replace(batch, pictures=batch.pictures.roll(1, 0))
        assert abs(mean_nll(model, [batch]) - mean_nll(model, [other])) > 1e-6
    with pytest.raises(ValueError, match="which row a picture belongs to is not kept"):
        batch.rows(torch.tensor([0]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), r"compare\.jsonl:1 .*holds a picture, and .*base reads text only; add see=true"),
        (("pictures.patch=8",), "pictures is set, but no encoder of pictures is made; add see=true"),
        (("see=true", "adapter.kind=lora"), "an adapter leaves all else as it is"),
        (("see=true", "pictures.patch=7"), "pictures.side is 48; it must be a multiple of pictures.patch, 7"),
    ],
)
def test_settings_under_which_nothing_could_be_seen_are_refused(root, capsys, words, message):
    assert re.search(message, refused(capsys, *sft(root, "nothing", *words)))
    assert not (root / "nothing").exists()


def test_texts_alone_teach_no_encoder(root, tmp_path, capsys):
    chats = tmp_path / "texts.jsonl"
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    chats.write_text(json.dumps({"messages": said}))
    words = ("sft", f"base={root / 'base'}", f"data={chats}", f"out={tmp_path / 'out'}", "see=true")
    assert "holds no picture" in refused(capsys, *words)
    assert not (tmp_path / "out").exists()


def test_a_broken_picture_is_told_with_its_line_and_nothing_is_written(root, tmp_path, capsys):
    lines = (root / "data" / "compare.jsonl").read_text(encoding="utf-8").splitlines()[:3]
    lines[1] = lines[1].replace("data:image/png;base64,iVBOR", "data:image/png;base64,AAAAA", 1)
    (tmp_path / "bad.jsonl").write_text("\n".join(lines), encoding="utf-8")
    words = ("sft", f"base={root / 'base'}", f"data={tmp_path / 'bad.jsonl'}", f"out={tmp_path / 'out'}")
    assert "bad.jsonl:2: an image file is of an unknown kind; only PNG is read" in refused(
        capsys, *words, "see=true"
    )
    assert not (tmp_path / "out").exists()


def test_generate_answers_about_files(root, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(png(draw(random_scene(generator("a")))))
    (tmp_path / "b.png").write_bytes(png(draw(random_scene(generator("b")))))
    command = ["generate", str(root / "sees"), "What is this?", *GREEDY]
    capsys.readouterr()
    assert main([*command, f"images={tmp_path / 'a.png'},{tmp_path / 'b.png'}"]) == 0
    speaker = load_speaker(root / "sees")
    urls = [data_url(random_scene(generator(name))) for name in "ab"]
    message = {"role": "user", "content": "What is this?", "images": [{"at": 0, "url": url} for url in urls]}
    ids = speaker.chat.prompt([message])
    row = list(ids)
    pictures = speaker.see(urls)
    assert pictures is not None
    with torch.no_grad():
        patches = speaker.model.backbone.look(pictures)
        while len(row) < len(ids) + 4 and row[-1] not in speaker.chat.stop_ids:
            logits = speaker.model(torch.tensor([row]), patches=patches)[0, -1]
            logits[[*(speaker.chat.tokenizer.control_ids - speaker.chat.stop_ids)]] = -torch.inf
            row.append(int(logits.argmax()))
    wanted = speaker.chat.tokenizer.decode(row[len(ids) :])
    assert capsys.readouterr().out.removesuffix("\n").removesuffix(" […]") == wanted
    missing = refused(capsys, *command, f"images={tmp_path / 'none.png'}")
    assert "none.png is not there" in missing
    blind = ["generate", str(root / "base"), "What?", f"images={tmp_path / 'a.png'}"]
    assert "this model reads text only" in refused(capsys, *blind)
    assert "a raw text has no place for them" in refused(
        capsys, *command, f"images={tmp_path / 'a.png'}", "raw=true"
    )


def test_a_conversation_remembers_what_it_was_shown(root, tmp_path):
    (tmp_path / "a.png").write_bytes(png(draw(random_scene(generator("a")))))
    told: list[str] = []
    sampling = SamplingConfig(max_new_tokens=3, temperature=0)
    conversation = Conversation(load_speaker(root / "sees"), "", sampling, told.append)
    conversation.hear(f"/image {tmp_path / 'none.png'}")
    assert "is not there" in told[-1]
    conversation.hear(f"/image {tmp_path / 'a.png'}")
    conversation.hear("What is this?")
    conversation.hear("And this?")
    assert [len(message.get("images", ())) for message in conversation.messages] == [1, 0, 0, 0]
    assert conversation.images == []
    blind = Conversation(load_speaker(root / "base"), "", sampling, told.append)
    blind.hear(f"/image {tmp_path / 'a.png'}")
    assert told[-1] == "(there is a picture, and this model reads text only)\n"
    assert blind.images == []


def test_the_exam_asks_about_pictures_only_who_sees(root, tmp_path, capsys):
    words = ("categories=pictures", "n_per_cell=4", f"out={tmp_path / 'exam'}")
    capsys.readouterr()
    assert main(["evaluate", str(root / "sees"), *words]) == 0
    assert "pictures" in capsys.readouterr().out
    results = load_results(tmp_path / "exam" / "model.jsonl")
    assert [result.category for result in results] == ["pictures"] * 8
    assert {kind_of(result.question_id) for result in results} == {"colour", "shape", "count", "relation"}
    summary = json.loads((tmp_path / "exam" / "summary.json").read_text(encoding="utf-8"))
    assert summary["labels"]["pictures"] == {"en": "questions about a picture", "zh": "看图回答"}
    assert "only assistants with an encoder of pictures can be asked" in refused(
        capsys, "evaluate", str(root / "base"), *words
    )
    assert "categories names 'music'" in refused(capsys, "evaluate", str(root / "base"), "categories=music")


def test_both_kinds_of_question_are_asked_of_who_sees_and_texts_of_all(root, tmp_path):
    settings = ("corpus_bytes=1000000", "n_per_cell=1")
    assert main(["evaluate", str(root / "sees"), *settings, f"out={tmp_path / 'all'}"]) == 0
    assert main(["evaluate", str(root / "base"), *settings, f"out={tmp_path / 'texts'}"]) == 0
    sees, blind = (load_results(tmp_path / name / "model.jsonl") for name in ("all", "texts"))
    asked_of_all = [result.question_id for result in blind]
    assert [result.question_id for result in sees][:-2] == asked_of_all
    assert {result.category for result in sees} - {result.category for result in blind} == {"pictures"}


def test_stages_that_have_no_use_for_pictures_refuse_them(root):
    chat = chat_format_of(root / "sees" / "model")
    with pytest.raises(ChatError, match="holds a picture; this model reads text only"):
        chat.prompt(asked(0))
