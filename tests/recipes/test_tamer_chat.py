"""`danlu chat MODEL --tamer`: thumbs that change the next answers, and what of them is kept."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from danlu.cli import main
from danlu.config import ConfigError
from danlu.data.chats import Chat, Rating, read_grades, read_ratings
from danlu.data.records import DataError
from danlu.data.sft import SftBatches
from danlu.generate.sampling import SamplingConfig
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.model.weights import ModelFileError, read_file
from danlu.objectives.token_loss import TokenLoss
from danlu.recipes.chat import ChatConfig
from danlu.recipes.conversation import Conversation
from danlu.recipes.speaker import Speaker, load_speaker
from danlu.recipes.stage import publish
from danlu.recipes.tamer import Pupil, Shaping
from danlu.rl.tamer import HeadConfig
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat
from danlu.train.loop import LoopConfig, train
from danlu.train.optim import OptimConfig, build_optimizer

QUESTIONS = ["How are you?", "你好吗？", "And now?", "现在呢？"]
ANSWERS = ["I am well.", "我很好。"]  # each question gets either, as often
SIZES = {"d_model": 32, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "head_dim": 16, "d_ff": 48}
DRAWN = SamplingConfig(max_new_tokens=24, temperature=1.0, seed=3)
HEAD = HeadConfig()


def said(question: str, answer: str) -> Chat:
    return Chat(messages=[{"role": "user", "content": question}, {"role": "assistant", "content": answer}])


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers half in English and half in Chinese, whatever is asked."""
    texts = [*QUESTIONS, *ANSWERS, "user assistant system\n"]
    tokenizer = Tokenizer.train(texts * 8, 330)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, max_seq_len=160, **SIZES)
    model = LanguageModel(config, seed=1)
    chats = [said(question, answer) for question in QUESTIONS for answer in ANSWERS]
    batches = SftBatches(chats, ChatFormat(tokenizer), batch_size=1, seq_len=192, seed=0)
    optimizer = build_optimizer(model, OptimConfig(kind="adamw"))
    for _ in train(model, batches, TokenLoss(), optimizer, lambda _: 1e-2, LoopConfig(n_steps=60)):
        pass
    run = tmp_path_factory.mktemp("run")
    publish(model, tokenizer, run / "model")
    return run / "model"


@pytest.fixture
def speaker(model_dir: Path) -> Speaker:
    return load_speaker(model_dir)


@pytest.fixture
def feedback(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "thumbs.jsonl"


def shaping(speaker: Speaker, feedback: Path, config: HeadConfig = HEAD) -> Shaping:
    return Shaping(speaker, feedback, config, lambda _: None)


def pupil(
    speaker: Speaker, feedback: Path, n_candidates: int = 8, system: str = ""
) -> tuple[Pupil, list[str]]:
    shown: list[str] = []
    return Pupil(shaping(speaker, feedback), n_candidates, system, DRAWN, shown.append), shown


def answers_of(talk: Conversation, n: int, after: Callable[[str], str] | None = None) -> list[str]:
    """Answers to `n` questions, each in a conversation of its own; `after` says how each is judged."""
    found: list[str] = []
    for number in range(n):
        talk.hear("/reset")
        talk.hear(QUESTIONS[number % len(QUESTIONS)])
        found.append(talk.messages[-1]["content"])
        if after is not None:
            talk.hear(after(found[-1]))
    return found


def chinese(answer: str) -> bool:
    return "很" in answer


def english(answer: str) -> bool:
    return "well" in answer


def share(liked: Callable[[str], bool], answers: list[str]) -> float:
    return sum(map(liked, answers)) / len(answers)


@pytest.mark.parametrize("liked", [chinese, english])
def test_thumbs_shift_the_answers_to_the_language_that_is_liked(
    speaker: Speaker, feedback: Path, liked: Callable[[str], bool]
):
    """Eight thumbs; then 40 answers with the same random numbers as without them."""
    before = answers_of(Conversation(speaker, "", DRAWN, lambda _: None), 48)[8:]
    talk, _ = pupil(speaker, feedback)
    answers_of(talk, 8, after=lambda answer: "/+" if liked(answer) else "/-")
    after = answers_of(talk, 40)
    assert share(liked, before) < 0.75
    assert share(liked, after) > 0.95
    assert share(liked, after) - share(liked, before) > 0.25


def test_without_a_thumb_every_answer_is_the_models(speaker: Speaker, feedback: Path):
    plain = Conversation(speaker, "", DRAWN, lambda _: None)
    talk, _ = pupil(speaker, feedback)
    assert answers_of(talk, 12) == answers_of(plain, 12)
    assert not feedback.exists()


def test_a_head_that_has_learnt_nothing_chooses_the_models_answer(speaker: Speaker, feedback: Path):
    plain = Conversation(speaker, "", DRAWN, lambda _: None)
    expected = answers_of(plain, 1) + answers_of(plain, 12)
    talk, _ = pupil(speaker, feedback)
    assert answers_of(talk, 1, after=lambda _: "/grade 0") + answers_of(talk, 12) == expected
    assert len(set(expected)) > 1


def test_the_answer_is_the_candidate_with_the_best_expected_grade(speaker: Speaker, feedback: Path):
    talk, _ = pupil(speaker, feedback)
    answers_of(talk, 3, after=lambda answer: "/+" if english(answer) else "/-")
    talk.hear("/reset")
    prompt = speaker.chat.prompt([{"role": "user", "content": QUESTIONS[0]}])
    candidates = talk.draw(prompt)
    texts = [speaker.chat.parse(candidate.ids)["content"] for candidate in candidates]
    # By the other route: from the text, one pass an answer.
    grades = [expected_grade(talk.shaping, text) for text in texts]
    talk.hear(QUESTIONS[0])
    assert {candidate.finish_reason for candidate in candidates} == {"stop"}
    assert len(set(texts)) > 1
    assert talk.messages[-1]["content"] == texts[grades.index(max(grades))]


def expected_grade(shaping: Shaping, answer: str) -> float:
    rating = Rating(prompt=[{"role": "user", "content": QUESTIONS[0]}], completion=answer, grade=0)
    return shaping.head.grade(shaping.hidden(rating))


def test_grades_are_kept_as_records_that_kto_reads(speaker: Speaker, feedback: Path):
    talk, _ = pupil(speaker, feedback, system="be kind")
    talk.hear(QUESTIONS[0])
    answer = talk.messages[-1]["content"]
    for line in ("/+", "/- too short", "/grade -2", "/grade 0", "/grade +2 谢谢"):
        talk.hear(line)
    messages = [{"role": "system", "content": "be kind"}, *said(QUESTIONS[0], answer).messages]
    records = [json.loads(line) for line in feedback.read_text(encoding="utf-8").splitlines()]
    assert records == [
        {"messages": messages, "thumb": "up"},
        {"messages": messages, "thumb": "down", "comment": "too short"},
        {"messages": messages, "grade": -2},
        {"messages": messages, "grade": 0},
        {"messages": messages, "grade": 2, "comment": "谢谢"},
    ]
    assert [rating.grade for rating in read_grades(feedback)] == [1, -1, -2, 0, 2]
    assert [rating.liked for rating in read_ratings(feedback)] == [True, False, False, True]
    assert all(list(rating.prompt) == messages[:-1] for rating in read_ratings(feedback))


def test_an_answer_that_was_cut_is_kept_as_unfinished_and_its_end_gets_no_credit(
    speaker: Speaker, feedback: Path
):
    talk, _ = pupil(speaker, feedback)
    talk.sampling = SamplingConfig(max_new_tokens=2, temperature=0)
    talk.hear(QUESTIONS[0])
    talk.hear("/-")
    assert json.loads(feedback.read_text(encoding="utf-8"))["unfinished"] is True
    (rating,) = read_grades(feedback)
    tokenizer = speaker.chat.tokenizer
    assert talk.shaping.answer_ids(rating) == tokenizer.encode(rating.completion)
    whole = replace(rating, unfinished=False)
    assert talk.shaping.answer_ids(whole) == [*tokenizer.encode(rating.completion), tokenizer.im_end_id]


def test_a_thumb_is_answered_with_what_the_head_made_of_it(speaker: Speaker, feedback: Path):
    talk, shown = pupil(speaker, feedback)
    talk.hear(QUESTIONS[0])
    talk.hear("/+")
    (rating,) = read_grades(feedback)
    now = talk.shaping.head.grade(talk.shaping.hidden(rating))
    assert 0.5 < now < 1
    told = f"(noted: +1. For this answer the head expected +0.00, now {now:+.2f}; grades so far: 1)\n"
    assert shown[-1] == told


def test_why_shows_reward_and_credit_of_every_token(speaker: Speaker, feedback: Path):
    talk, shown = pupil(speaker, feedback)
    talk.hear(QUESTIONS[0])
    talk.hear("/+")
    talk.hear("/why")
    lines = shown[-1].splitlines()
    (rating,) = read_grades(feedback)
    rewards = talk.shaping.head.score(talk.shaping.hidden(rating)).tolist()
    rows = [line.split(maxsplit=2) for line in lines[2:]]
    assert [float(reward) for reward, *_ in rows] == pytest.approx(rewards, abs=0.006)
    assert sum(float(credit.removesuffix("%")) for _, credit, *_ in rows) == pytest.approx(100, abs=1)
    assert rows[-1][2] == "<|im_end|>"


def test_why_shows_the_answers_that_there_were_to_choose_from(speaker: Speaker, feedback: Path):
    talk, shown = pupil(speaker, feedback)
    answers_of(talk, 3, after=lambda answer: "/+" if english(answer) else "/-")
    talk.hear("/reset")
    candidates = talk.draw(speaker.chat.prompt([{"role": "user", "content": QUESTIONS[0]}]))
    texts = [speaker.chat.parse(candidate.ids)["content"] for candidate in candidates]
    talk.hear(QUESTIONS[0])
    talk.hear("/why")
    lines = shown[-1].splitlines()
    assert lines[0] == f"(8 candidates, {len(set(texts))} different)"
    listed = lines[1 : 1 + len(set(texts))]
    assert {line[8:].removesuffix("  (the model alone)") for line in listed} == set(texts)
    assert listed[0][8:].removesuffix("  (the model alone)") == talk.messages[-1]["content"]
    assert [line[8:] for line in listed if line.endswith("(the model alone)")] == [
        f"{texts[0]}  (the model alone)"
    ]
    grades = [float(line[:6]) for line in listed]
    assert grades == sorted(grades, reverse=True)


@pytest.mark.parametrize("line", ["/+", "/-", "/grade 2", "/why"])
def test_feedback_before_any_answer_is_refused(speaker: Speaker, feedback: Path, line: str):
    talk, shown = pupil(speaker, feedback)
    talk.hear(line)
    talk.hear(QUESTIONS[0])
    talk.hear("/reset")
    talk.hear(line)
    refusals = [text for text in shown if "there is no answer yet; ask something first" in text]
    assert len(refusals) == 2
    assert not feedback.exists()


@pytest.mark.parametrize("given", ["3", "-3", "1.5", "two", "", "1e0", "²"])
def test_a_grade_out_of_range_is_refused(speaker: Speaker, feedback: Path, given: str):
    talk, shown = pupil(speaker, feedback)
    talk.hear(QUESTIONS[0])
    talk.hear(f"/grade {given}")
    assert shown[-1] == f"(the grade is {given!r}; it must be -2, -1, 0, 1 or 2)\n"
    assert not feedback.exists()
    assert talk.shaping.n_grades == 0


def taught(speaker: Speaker, feedback: Path, n: int = 5) -> Shaping:
    talk, _ = pupil(speaker, feedback)
    answers_of(talk, n, after=lambda answer: "/+" if chinese(answer) else "/grade -2")
    return talk.shaping


def test_the_head_goes_on_where_it_was(speaker: Speaker, feedback: Path):
    first = taught(speaker, feedback)
    second = shaping(speaker, feedback)
    assert second.n_grades == 5
    assert torch.equal(second.head.weight, first.head.weight)
    assert torch.equal(second.head.covariance, first.head.covariance)


class Interrupted(Shaping):
    """Ctrl-C after the grade was written and before the head was."""

    def _save(self) -> None:
        raise KeyboardInterrupt


def test_a_grade_is_not_lost_when_its_lesson_is_interrupted(speaker: Speaker, feedback: Path, tmp_path: Path):
    whole = taught(speaker, tmp_path / "whole.jsonl", 6)
    *earlier, last = lines_of(tmp_path / "whole.jsonl")
    feedback.parent.mkdir()
    feedback.write_text("\n".join(earlier) + "\n", encoding="utf-8")
    shaping(speaker, feedback)
    interrupted = Interrupted(speaker, feedback, HEAD, lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        interrupted.take_in(read_grades(tmp_path / "whole.jsonl")[-1], json.loads(last))
    after = shaping(speaker, feedback)
    assert after.n_grades == 6
    assert torch.equal(after.head.weight, whole.head.weight)


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_a_head_that_is_gone_is_learnt_again(speaker: Speaker, feedback: Path):
    first = taught(speaker, feedback)
    first.saved.unlink()
    assert torch.equal(shaping(speaker, feedback).head.weight, first.head.weight)


def test_a_grade_that_was_taken_out_of_the_file_is_unlearnt(speaker: Speaker, feedback: Path):
    taught(speaker, feedback)
    lines = lines_of(feedback)
    feedback.write_text("\n".join(lines[1:]), encoding="utf-8")  # nor does the last line end
    told: list[str] = []
    found = Shaping(speaker, feedback, HEAD, told.append)
    assert told[0].startswith("(the head's settings or the grades it was learnt from have changed")
    assert found.n_grades == 4
    alone = feedback.with_name("alone.jsonl")
    alone.write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")
    assert torch.equal(found.head.weight, shaping(speaker, alone).head.weight)
    talk = Pupil(found, 8, "", DRAWN, lambda _: None)
    answers_of(talk, 1, after=lambda _: "/+")
    assert len(read_grades(feedback)) == 5


def test_other_settings_of_the_head_learn_the_same_grades_anew(speaker: Speaker, feedback: Path):
    first = taught(speaker, feedback)
    other = shaping(speaker, feedback, HeadConfig(half_life=2))
    assert other.n_grades == 5
    assert not torch.equal(other.head.weight, first.head.weight)


def other_model(speaker: Speaker) -> Speaker:
    model = LanguageModel(speaker.model.config, seed=9).eval()
    return Speaker(model, speaker.chat)


def test_the_head_of_another_model_is_refused(speaker: Speaker, feedback: Path):
    taught(speaker, feedback)
    with pytest.raises(ModelFileError, match=r"thumbs\.safetensors is the head of another model; name anoth"):
        shaping(other_model(speaker), feedback)
    feedback.with_suffix(".safetensors").unlink()
    assert shaping(other_model(speaker), feedback).n_grades == 5  # grades are of use to any model


def damage_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def damage_numbers(path: Path) -> None:
    rewrite(path, weight=torch.full((32,), float("nan"), dtype=torch.float64))


def damage_shape(path: Path) -> None:
    rewrite(path, weight=torch.zeros(31))


def forget_header(path: Path) -> None:
    save_file(load_file(path), path)


def rewrite(path: Path, **tensors: torch.Tensor) -> None:
    found, header = read_file(path)
    save_file({**found, **tensors}, path, metadata=header)


DAMAGE = {
    "cut short, corrupt or not a safetensors file": damage_bytes,
    "is no sound head": damage_numbers,
    "has shape": damage_shape,
    "is no sound head of this": forget_header,
}


@pytest.mark.parametrize(("told", "damage"), DAMAGE.items())
def test_a_broken_head_is_refused_and_can_be_learnt_again(
    speaker: Speaker, feedback: Path, told: str, damage: Callable[[Path], None]
):
    first = taught(speaker, feedback)
    damage(first.saved)
    with pytest.raises(ModelFileError, match=f"{told}.*remove the file: the head is then learnt again from"):
        shaping(speaker, feedback)
    first.saved.unlink()
    assert torch.equal(shaping(speaker, feedback).head.weight, first.head.weight)


def test_a_grade_whose_answer_no_model_could_have_read_is_refused(speaker: Speaker, feedback: Path):
    feedback.parent.mkdir()
    messages = said("z" * 400, "I am well.").messages
    feedback.write_text(json.dumps({"messages": messages, "thumb": "up"}) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"thumbs\.jsonl:1: nothing of the answer can be given credit"):
        shaping(speaker, feedback)


def test_the_command_keeps_its_grades_beside_the_model(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    words = ["chat", str(model_dir), "--tamer", "sampling.max_new_tokens=24"]
    monkeypatch.setattr("sys.stdin", io.StringIO("How are you?\n/+\n/why\n"))
    assert main(words) == 0
    assert "(noted: +1. " in capsys.readouterr().out
    assert {path.name for path in (model_dir / "tamer").iterdir()} == {
        "feedback.jsonl",
        "feedback.safetensors",
    }
    monkeypatch.setattr("sys.stdin", io.StringIO("How are you?\n"))
    assert main(words) == 0
    assert "(grades so far: 1, in " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"n_candidates": 4}, "n_candidates is set, but nothing is learnt; add tamer=true"),
        ({"head": HeadConfig(window=9)}, "head is set, but nothing is learnt"),
        ({"tamer": True, "n_candidates": 0}, "n_candidates is 0; it must be at least 1"),
        ({"tamer": True, "feedback": Path("thumbs.txt")}, "it must be the name of a .jsonl file"),
    ],
)
def test_impossible_settings_are_refused(given: dict[str, object], told: str):
    with pytest.raises(ConfigError, match=told):
        ChatConfig(model=Path("m"), **given)  # type: ignore[arg-type]
