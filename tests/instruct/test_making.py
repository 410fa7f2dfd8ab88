"""Rounds with a model that says what a test tells it to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from danlu.config import ConfigError
from danlu.data.records import DataError
from danlu.instruct.asking import Question, Replies, Reply
from danlu.instruct.filters import FilterConfig
from danlu.instruct.making import MakingConfig, SelfInstruct, account, sift
from danlu.instruct.records import Done, Given, InstructError, Outcome, read_seeds

NOUNS = [
    "river",
    "mountain",
    "city",
    "poet",
    "engine",
    "flower",
    "planet",
    "number",
    "island",
    "bridge",
    "castle",
    "desert",
    "forest",
    "lake",
]
VERBS = ["describe", "compare", "rank", "explain", "summarise"]
SEEDS = [
    Done(id=f"s{i}", task=f"Tell me something about the {noun}.", answer=f"A {noun} is fine.", lang="en")
    for i, noun in enumerate(NOUNS[:4])
]
CONFIG = MakingConfig(n_lists=1, patience=2)


def task(number: int) -> str:
    """A task that shares few words with the others."""
    verb, noun = VERBS[number % len(VERBS)], NOUNS[number % len(NOUNS)]
    return f"{verb} {noun} {number} with {number * 7} words about w{number} x{number} y{number}"


class Model:
    """Says numbered tasks, no material, and answers; counts what it was asked."""

    def __init__(self, say: Callable[[Question], Reply] | None = None) -> None:
        self.say, self.asked = say or self.by_key, list[Question]()

    def by_key(self, question: Question) -> Reply:
        number, what, *_ = question.key.split("/")
        if what == "tasks":
            return Reply(text="\n".join(f"{i}. {task(int(number) * 8 + i)}" for i in range(8)))
        if what == "materials":
            return Reply(text="none")
        return Reply(text=f"An answer to this: {question.key}, at some length and of its own.")

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Reply]]:
        for i, question in enumerate(questions):
            self.asked.append(question)
            yield i, self.say(question)


def make(
    tmp_path: Path, model: Model, n_rounds: int = 1, given: Given | None = None, **changed: object
) -> SelfInstruct:
    making = SelfInstruct(
        given or Given(seeds=SEEDS),
        Replies(tmp_path / "replies.jsonl", model),
        replace(CONFIG, **{k: v for k, v in changed.items() if k != "score"}),  # type: ignore[arg-type]
        FilterConfig(),
        plain=False,
        seed=0,
        score=changed.get("score"),  # type: ignore[arg-type]
    )
    for outcome in making.rounds():
        if outcome.rounds == n_rounds:
            break
    return making


def saying(tasks: str = "", material: str = "none", answer: str = "A fine answer.") -> Model:
    """Every question of a kind gets the same reply."""
    texts = {"tasks": tasks, "materials": material, "answers": answer}
    return Model(lambda question: Reply(text=texts[question.key.split("/")[1]]))


def dropped(outcome: Outcome) -> list[tuple[str, str]]:
    return [(each.why, each.text) for each in outcome.dropped]


def test_a_round_is_tasks_then_material_then_answers(tmp_path: Path):
    model = Model()
    outcome = make(tmp_path, model).outcome
    assert [question.key.split("/")[1] for question in model.asked] == [
        "tasks",
        *["materials"] * 8,
        *["answers"] * 8,
    ]
    assert len(outcome.kept) == 8
    first = outcome.kept[0]
    assert first.messages == [
        {"role": "user", "content": task(8)},
        {"role": "assistant", "content": "An answer to this: 1/answers/0/0, at some length and of its own."},
    ]
    assert set(first.shown) == {"s0", "s1", "s2", "s3"}
    assert model.asked[-8].text == task(8)


def test_tasks_like_others_are_dropped_with_what_they_are_like(tmp_path: Path):
    tasks = "\n".join(
        [
            "1. Tell me something about the poet.",  # 6 of 6 words of s3
            "2. Tell me about the great poet.",  # LCS 5 of 6 and 6 words: 10/12
            "3. Say nothing about the poet please.",  # LCS 3 of 6 and 6 words: 6/12
            "4. Say nothing about the poet, please!",  # like number 3
        ]
    )
    outcome = make(tmp_path, saying(tasks)).outcome
    assert [each.task for each in outcome.kept] == ["Say nothing about the poet please."]
    assert outcome.kept[0].similarity == 6 / 12
    assert [(each.why, each.like) for each in outcome.dropped] == [
        ("task like one before", "s3"),
        ("task like one before", "s3"),
        ("task like one before", outcome.dropped[2].like),
    ]
    assert outcome.dropped[2].like not in {each.id for each in SEEDS}


def test_material_becomes_part_of_the_question(tmp_path: Path):
    outcome = make(tmp_path, saying("1. Sort the words that follow.", "pear apple fig")).outcome
    assert outcome.kept[0].messages[0]["content"] == "Sort the words that follow.\npear apple fig"
    assert (outcome.kept[0].task, outcome.kept[0].material) == (
        "Sort the words that follow.",
        "pear apple fig",
    )


def test_the_same_material_twice_is_answered_once(tmp_path: Path):
    model = saying("1. Sort the words that follow.", "pear apple fig")
    assert len(make(tmp_path, model, n_materials=3).outcome.kept) == 1
    assert [each.key for each in model.asked if "answers" in each.key] == ["1/answers/0/0"]


@pytest.mark.parametrize(
    ("kind", "reply", "why"),
    [
        ("tasks", Reply(fault="answer of the endpoint broken"), "answer of the endpoint broken"),
        ("tasks", Reply(text="I am sorry, I cannot."), "no task in the reply"),
        ("tasks", Reply(text="1. Draw a picture of a house."), "task needs more than words"),
        ("materials", Reply(text="a b c", finished=False), "material cut off"),
        ("materials", Reply(text="x <|im_start|>system"), "chat markers"),
        ("answers", Reply(text="It began", finished=False), "answer cut off"),
        ("answers", Reply(text=" \n"), "answer too short"),
        ("answers", Reply(text="ha " * 50), "answer repeats itself"),
        ("answers", Reply(fault="no text in the endpoint's answer"), "no text in the endpoint's answer"),
    ],
)
def test_what_cannot_be_used_is_written_down(tmp_path: Path, kind: str, reply: Reply, why: str):
    usual = saying("1. Name a large river in Africa.")
    model = Model(lambda question: reply if f"/{kind}/" in question.key else usual.say(question))
    outcome = make(tmp_path, model).outcome
    assert outcome.kept == []
    assert [each.why for each in outcome.dropped] == [why]


def test_a_model_that_brings_nothing_new_ends_the_run(tmp_path: Path):
    making = make(tmp_path, saying("1. Name a large river in Africa."), n_rounds=99)
    assert (making.outcome.rounds, len(making.outcome.kept)) == (3, 1)  # one good, then `patience` without


def test_tasks_made_are_shown_beside_seeds(tmp_path: Path):
    model = Model()
    make(tmp_path, model, n_rounds=2, n_shown=4, n_made_shown=2)
    lists = [question.text for question in model.asked if "/tasks/" in question.key]
    assert sum("Tell me something" in line for line in lists[0].splitlines()) == 4
    assert sum("Tell me something" in line for line in lists[1].splitlines()) == 2
    assert sum(" with " in line and line[0].isdigit() for line in lists[1].splitlines()) == 2


def test_what_must_be_avoided_is_not_made(tmp_path: Path):
    given = Given(seeds=SEEDS, avoid=[task(8)])
    outcome = make(tmp_path, Model(), given=given).outcome
    assert dropped(outcome) == [("task like one before", task(8))]
    assert outcome.dropped[0].like == "avoid"


def test_of_several_answers_the_best_is_kept_and_the_others_are_accounted_for(tmp_path: Path):
    def say(question: Question) -> Reply:
        number = question.key.split("/")[-1]
        return Reply(text=f"answer {number}") if "answers" in question.key else Model().by_key(question)

    outcome = make(
        tmp_path,
        Model(say),
        n_answers=3,
        score=lambda chats: [{"0": 0.5, "1": 2.0, "2": None}[each[1]["content"][-1]] for each in chats],
    ).outcome
    assert {each.answer for each in outcome.kept} == {"answer 1"}
    assert {each.score for each in outcome.kept} == {2.0}
    assert account(outcome, sift(Outcome(), Given(seeds=SEEDS), FilterConfig(), 1.0)) == {
        "not the best answer to its task": 8,
        "too long for the reward model": 8,
    }


def test_the_best_share_is_kept_in_its_order(tmp_path: Path):
    outcome = make(tmp_path, Model(), score=lambda chats: [float(hash_of(each)) for each in chats]).outcome
    choice = sift(outcome, Given(seeds=SEEDS), FilterConfig(), 0.5)
    scores = [each.score or 0.0 for each in outcome.kept]
    best = sorted(scores)[-4:]
    assert [each.score for each in choice.kept] == [score for score in scores if score in best]
    assert [each.why for each in choice.dropped] == ["low score"] * 4


def hash_of(chat: Sequence[dict[str, str]]) -> int:
    return sum(map(ord, chat[0]["content"])) % 101


def test_near_duplicates_of_question_and_answer_go(tmp_path: Path):
    long = " ".join(f"word{i}" for i in range(300))

    def say(question: Question) -> Reply:
        return Reply(text=long) if "answers" in question.key else Model().by_key(question)

    outcome = make(tmp_path, Model(say)).outcome
    choice = sift(outcome, Given(seeds=SEEDS), FilterConfig(), 1.0)
    assert len(choice.kept) == 1
    assert {(each.why, each.like) for each in choice.dropped} == {("near duplicate", choice.kept[0].id)}


def test_a_run_cut_off_at_any_reply_goes_on_to_the_same_end_and_asks_nothing_twice(tmp_path: Path):
    whole = make(tmp_path / "", Model(), n_rounds=2).outcome
    n_replies = len((tmp_path / "replies.jsonl").read_text().splitlines())
    for cut in range(0, n_replies, 3):
        path = tmp_path / f"cut-{cut}"
        path.mkdir()

        def dying(question: Question, left: list[int] = [cut]) -> Reply:  # noqa: B006
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return Model().by_key(question)

        with pytest.raises(KeyboardInterrupt):
            make(path, Model(dying), n_rounds=2)
        with (path / "replies.jsonl").open("ab") as file:
            file.write(b'{"question": "torn in the mid')
        after = Model()
        assert make(path, after, n_rounds=2).outcome == whole
        assert len(after.asked) == n_replies - cut


def test_a_file_of_something_else_is_not_taken_for_replies(tmp_path: Path):
    (tmp_path / "replies.jsonl").write_text('{"text": 1}\n')
    with pytest.raises(InstructError, match=r"replies.jsonl:1: no reply that danlu wrote"):
        make(tmp_path, Model())


def test_seeds_are_read_from_any_chat_with_task_and_material_apart(tmp_path: Path):
    path = tmp_path / "seeds.jsonl"
    lines = [
        {"instruction": "Sort the words.", "input": "b a", "output": "a b"},
        {"messages": [{"role": "user", "content": "写一首诗。"}, {"role": "assistant", "content": "好。"}]},
        {"id": "x", "prompt": "Name a river.", "completion": "The Rhine."},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    seeds = read_seeds(path, ("en", "zh"))
    assert [(each.task, each.material, each.answer, each.lang) for each in seeds] == [
        ("Sort the words.", "b a", "a b", "en"),
        ("写一首诗。", "", "好。", "zh"),
        ("Name a river.", "", "The Rhine.", "en"),
    ]
    assert seeds[2].id == "x"
    assert [each.lang for each in read_seeds(path, ("zh",))] == ["zh"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"prompt": "x"}, "seeds.jsonl:1: has fields"),
        ({"prompt": "x", "completion": " "}, "seeds.jsonl:1: a seed needs a question and its answer"),
        ({"prompt": "Назови реку.", "completion": "Нил."}, "none of the 1 seeds is in en or zh"),
    ],
)
def test_seeds_that_are_none_are_refused(tmp_path: Path, line: dict[str, str], message: str):
    (tmp_path / "seeds.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(DataError, match=message):
        read_seeds(tmp_path / "seeds.jsonl", ("en", "zh"))


def test_seeds_too_long_to_be_shown_are_an_error(tmp_path: Path):
    seeds = [replace(SEEDS[0], task="word " * 200)]
    with pytest.raises(ConfigError, match="every seed's task is longer"):
        make(tmp_path, Model(), given=Given(seeds=seeds))
