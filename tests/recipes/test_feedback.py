"""Judgements as files: round trips, the shapes of others, simulated people from task to reward model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.adapters.settings import AdapterConfig
from danlu.cli import main
from danlu.data import shapes
from danlu.data.chats import read_chats, read_comparisons, read_grades, read_ratings
from danlu.feedback import exchange
from danlu.feedback.body import Origin
from danlu.feedback.event import Event
from danlu.feedback.records import (
    Conversation,
    Demonstration,
    Edit,
    Message,
    Ranking,
    Rating,
    Task,
    Undo,
    Verdict,
)
from danlu.feedback.shapes import transcript
from danlu.feedback.store import Store
from danlu.feedback.summary import disputes, status
from danlu.generate.sampling import SamplingConfig
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.recipes import reward
from danlu.recipes.feedback import ExportConfig, ImportConfig, StatusConfig, run
from danlu.recipes.feedback_tasks import TasksConfig, model_digest
from danlu.recipes.stage import publish
from danlu.tokenizer.bpe import Tokenizer
from danlu.train.loop import LoopConfig
from danlu.world import annotators
from danlu.world.tasks import CATEGORIES, cell
from danlu.world.truth import World, WorldSize

USER = {"role": "user", "content": "Why?"}
SHAPES = ("events", "comparison", "chat", "rating")


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text(
        "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in records), encoding="utf-8"
    )
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def take_in(db: Path, *paths: Path, **how: Any) -> None:
    run(ImportConfig(path=paths, db=str(db), **how))


def export(db: Path, out: Path, shape: Any, **how: Any) -> list[dict[str, Any]]:
    run(ExportConfig(out=out, db=str(db), shape=shape, **how))
    return lines(out)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A store with all that people can do."""
    path = tmp_path / "filled.db"
    with Store.open(path) as store:
        conversation = store.add("ann", Conversation(title="why", about={"persona": "kind", "x": None}))
        here = conversation.id
        store.add("", Message(conversation=here, role="system", content="Be brief."))
        system = next(iter(store.events("message")))
        question = store.add(
            "ann", Message(conversation=here, parent=system.id, role="user", content=" 为什么？\n")
        )
        origin = Origin(model="ab" * 32, sampling={"seed": 1}, token_ids=(5, 6), logprobs=(-0.1, -2.5))
        cut = Origin(unfinished=True)
        said = [
            store.add(
                "",
                Message(conversation=here, parent=question.id, role="assistant", content=text, origin=made),
            )
            for text, made in (("Because.", origin), ("Because.", cut), ("No.\n\nHuman: yes", origin))
        ]
        ids = tuple(each.id for each in said)
        task = store.add("boss", Task(prompt=question.id, completions=ids, overlap=3))
        ranking = {"completions": ids, "task": task.id, "shown": (2, 0, 1), "seconds": 12.25}
        store.add("bob", Ranking(ranks=(1, 2, 2), strengths=(0.5,), comment="好", **ranking))
        store.add("cat", Ranking(ranks=(3, 2, 1), flags=((), (), ("unsafe",)), **ranking))
        gone = store.add("eve", Ranking(ranks=(1, 1, 1), **ranking))
        store.add("eve", Undo(event=gone.id))
        store.add("boss", Verdict(completions=ids, ranks=(1, 1, 2)))
        place = {"conversation": here, "parent": question.id}
        store.add("bob", Demonstration(**place, content="Light scatters.", seconds=60, about={"n": [1]}))
        store.add("bob", Edit(**place, content="Because of air.", of=ids[0]))
        store.add("ann", Rating(completion=ids[0], value=1, comment="thanks"))
        store.add("cat", Rating(completion=ids[1], value=-2, scale="grade"))
        store.add("cat", Rating(completion=ids[2], value=0, scale="grade"))
        further = Message(conversation=here, parent=ids[0], role="user", content="And?", more={"name": "ann"})
        last = store.add("ann", further)
        end = Message(
            conversation=here, parent=last.id, role="assistant", content="x", more={"tool_calls": []}
        )
        store.add("cat", Rating(completion=store.add("", end).id, value=-1))
    return path


def judgements(path: Path, *kinds: str) -> list[Event]:
    with Store.open(path, create=False) as store:
        return list(store.events(*kinds))


def test_the_log_is_made_again_from_its_export(filled: Path, tmp_path: Path):
    whole = export(filled, tmp_path / "a.jsonl", "events")
    take_in(tmp_path / "new.db", tmp_path / "a.jsonl")
    assert export(tmp_path / "new.db", tmp_path / "b.jsonl", "events") == whole
    with Store.open(filled) as old, Store.open(tmp_path / "new.db") as new:
        assert status(new) == status(old)


@pytest.mark.parametrize(
    ("shape", "kinds"),
    [
        ("comparison", ("ranking", "verdict")),
        ("chat", ("demonstration", "edit")),
        ("rating", ("rating",)),
    ],
)
def test_a_round_trip_of_our_shapes_loses_nothing(
    filled: Path, tmp_path: Path, shape: str, kinds: tuple[str, ...]
):
    first = export(filled, tmp_path / "a.jsonl", shape)
    take_in(tmp_path / "new.db", tmp_path / "a.jsonl")
    assert export(tmp_path / "new.db", tmp_path / "b.jsonl", shape) == first
    before, after = judgements(filled, *kinds), judgements(tmp_path / "new.db", *kinds)
    assert [(each.at, each.id, each.person, each.body) for each in after] == [
        (each.at, each.id, each.person, each.body) for each in before
    ]
    nodes = {each.id: each.body for each in judgements(filled, "message")}
    assert all(nodes[each.id] == each.body for each in judgements(tmp_path / "new.db", "message"))


@pytest.mark.parametrize("shape", SHAPES)
def test_taking_in_ones_own_export_changes_nothing(filled: Path, tmp_path: Path, shape: str):
    before = export(filled, tmp_path / "all.jsonl", "events")
    export(filled, tmp_path / "a.jsonl", shape)
    take_in(filled, tmp_path / "a.jsonl")
    assert export(filled, tmp_path / "all.jsonl", "events") == before


def test_what_is_exported_is_what_training_reads(filled: Path, tmp_path: Path):
    export(filled, tmp_path / "c.jsonl", "comparison")
    one, two, verdict = read_comparisons(tmp_path / "c.jsonl")
    assert (one.ranks, one.strengths, one.unfinished, one.annotator) == (
        [1, 2, 2],
        [0.5],
        [False, True, False],
        "bob",
    )
    assert [each["content"] for each in one.prompt] == ["Be brief.", " 为什么？\n"]
    assert list(one.completions) == ["Because.", "Because.", "No.\n\nHuman: yes"]
    assert (two.ranks, two.annotator, verdict.ranks) == ([3, 2, 1], "cat", [1, 1, 2])
    export(filled, tmp_path / "d.jsonl", "chat")
    shown, edited = read_chats(tmp_path / "d.jsonl")
    assert shown.messages[-1] == {"role": "assistant", "content": "Light scatters."}
    assert edited.messages[-1] == {"role": "assistant", "content": "Because of air."}


def test_ratings_are_read_as_thumbs_and_grades(filled: Path, tmp_path: Path):
    records = export(filled, tmp_path / "r.jsonl", "rating")
    found = read_grades(write(tmp_path / "three.jsonl", records[:3]))
    assert [(each.completion, each.grade, each.unfinished) for each in found] == [
        ("Because.", 1, False),
        ("Because.", -2, True),
        ("No.\n\nHuman: yes", 0, False),
    ]


def test_the_final_word_stands_for_all(filled: Path, tmp_path: Path):
    (only,) = export(filled, tmp_path / "c.jsonl", "comparison", final=True)
    assert only["ranks"] == [1, 1, 2]


# What other programs write, and how often each is a judgement.
PAIR = {"id": 7, "prompt": "Why?", "chosen": "A.", "rejected": "B.", "source": "x", "margin": 0.5}
BINARISED = {
    "prompt": "Why?",
    "prompt_id": "ff",
    "chosen": [USER, {"role": "assistant", "content": "A."}],
    "rejected": [USER, {"role": "assistant", "content": "B."}],
    "score_chosen": 8.5,
    "score_rejected": 3.0,
}
SCORED = {
    "prompt": "Why?",
    "answers": [{"text": "A.", "score": 4.5, "model": "m"}, {"text": "B.", "score": 1.0}],
}
VOTED = {"prompt": "Why?", "answers": ["A.", "B."], "labels": [1, 1, 0]}
HH = {"chosen": "\n\nHuman: Why?\n\nAssistant: A.", "rejected": "\n\nHuman: Why?\n\nAssistant: B."}
KTO = {"prompt": "Why?", "completion": "A.", "label": False, "id": "k-1"}
SHAREGPT = {
    "conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "A."}],
    "lang": "en",
}
OWN = {"prompt": [USER], "completions": ["A.", "A.", "B."], "ranks": [1, 2, 3], "annotator": "zoe"}


@pytest.mark.parametrize(
    ("record", "shape"),
    [
        (PAIR, "pairs"),
        (BINARISED, "pairs"),
        (SCORED, "answers"),
        (VOTED, "answers"),
        (HH, "hh"),
        (OWN, "comparison"),
    ],
    ids=["pair", "binarised", "scored", "voted", "hh", "own"],
)
def test_comparisons_of_others_come_out_as_they_went_in(tmp_path: Path, record: dict[str, Any], shape: str):
    given = write(tmp_path / "given.jsonl", [record, record])
    take_in(tmp_path / "x.db", given)
    take_in(tmp_path / "x.db", given)  # known by content
    made = export(tmp_path / "x.db", tmp_path / "out.jsonl", shape)
    before, after = read_comparisons(given), read_comparisons(tmp_path / "out.jsonl")
    assert len(after) == 2  # the same said twice is said twice
    for one, two in zip(before, after, strict=True):
        assert (one.prompt, one.completions, one.ranks, one.annotator) == (
            two.prompt,
            two.completions,
            two.ranks,
            two.annotator,
        )
    own = {"prompt", "chosen", "rejected", "completions", "ranks", "annotator"}
    assert all(
        {key: value for key, value in record.items() if key not in own}.items() <= each.items()
        for each in made
    )


def test_thumbs_of_others_come_out_as_they_went_in(tmp_path: Path):
    given = write(tmp_path / "given.jsonl", [KTO, {**KTO, "label": True}])
    take_in(tmp_path / "x.db", given)
    made = export(tmp_path / "x.db", tmp_path / "out.jsonl", "kto")
    assert [(each["label"], each["id"]) for each in made] == [(False, "k-1"), (True, "k-1")]
    before, after = read_ratings(given), read_ratings(tmp_path / "out.jsonl")
    assert [(a.prompt, a.completion, a.grade) for a in before] == [
        (b.prompt, b.completion, b.grade) for b in after
    ]


def test_chats_of_others_are_demonstrations(tmp_path: Path):
    given = write(tmp_path / "given.jsonl", [SHAREGPT])
    take_in(tmp_path / "x.db", given)
    export(tmp_path / "x.db", tmp_path / "out.jsonl", "chat")
    assert read_chats(tmp_path / "out.jsonl")[0].messages == read_chats(given)[0].messages
    (event,) = judgements(tmp_path / "x.db", "demonstration")
    assert getattr(event.body, "about", {}) == {"lang": "en"}


def test_what_a_shape_cannot_say_is_left_out_and_counted(
    filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert len(export(filled, tmp_path / "p.jsonl", "pairs")) == 2 + 3 + 2
    assert "left out: 2 ties, which a pair cannot say" in capsys.readouterr().out
    assert len(export(filled, tmp_path / "k.jsonl", "kto")) == 3
    assert "left out: 1 grades of 0, neither liked nor disliked" in capsys.readouterr().out
    with pytest.raises(ValueError, match="holds nothing to export in the shape 'hh'"):
        export(filled, tmp_path / "h.jsonl", "hh")  # a system message, and space around the question
    assert not (tmp_path / "h.jsonl").exists()


@given(st.lists(st.text(alphabet="a \nHuman:Assistant", max_size=30), min_size=2, max_size=4))
def test_a_transcript_reads_back_as_the_same_messages_or_is_not_written(texts: list[str]):
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
    written = transcript(messages)
    assert written is None or shapes.transcript(written) == messages


def bad_files() -> Iterator[tuple[list[dict[str, Any]], str]]:
    known = "0" * 32
    yield [{"a": 1}], r":1: has fields \['a'\], which is no judgement"
    yield (
        [PAIR, {"prompt": "Why?", "completions": ["A."], "ranks": [1]}],
        ":2: has 1 completion; a comparison",
    )
    yield [{"messages": [USER]}], ":1: a demonstration is a chat that ends with the assistant's answer"
    yield [{"messages": [USER, {"role": "assistant", "content": " "}]}], ":1: the demonstration is empty"
    yield [{**KTO, "label": "yes"}], ":1: field 'label' is str 'yes'; it must be True or False"
    yield (
        [{"id": known, "kind": "undo", "at": "2026-05-04", "event": "1" * 32}],
        "refers to 1{32}, which is neither",
    )
    yield [{**OWN, "danlu": 3}], ":1: field 'danlu' must be an object"
    yield [{**OWN, "flags": "unsafe"}], ":1: ranking: flags: expected list of list of text"


@pytest.mark.parametrize(("records", "told"), list(bad_files()))
def test_a_file_that_cannot_be_read_is_told_and_nothing_is_taken_in(
    tmp_path: Path, records: list[dict[str, Any]], told: str
):
    with pytest.raises(ValueError, match=told):
        take_in(tmp_path / "x.db", write(tmp_path / "bad.jsonl", records))
    if (tmp_path / "x.db").exists():
        assert judgements(tmp_path / "x.db") == []


def test_an_export_that_was_edited_contradicts_the_store(filled: Path, tmp_path: Path):
    records = export(filled, tmp_path / "a.jsonl", "comparison")
    records[0]["ranks"] = [2, 1, 1]
    before = judgements(filled)
    with pytest.raises(ValueError, match="says something else than the ranking of that id"):
        take_in(filled, write(tmp_path / "edited.jsonl", records))
    assert judgements(filled) == before


def test_ids_of_other_programs_never_collide(tmp_path: Path):
    """The same id for different things, and ids that are no text, are common in others' files."""
    first = write(tmp_path / "a.jsonl", [PAIR, {**PAIR, "chosen": "C."}, {**KTO, "id": 7}])
    take_in(tmp_path / "x.db", first)
    assert len(judgements(tmp_path / "x.db", "ranking")) == 2
    assert len(judgements(tmp_path / "x.db", "rating")) == 1


def test_the_command_line_tells_what_it_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    other = {**OWN, "annotator": "yan", "ranks": [3, 2, 1]}
    write(tmp_path / "a.jsonl", [OWN, other, PAIR])
    assert main(["feedback", "import", "path=a.jsonl"]) == 0
    assert "new: 1 conversation, 4 messages, 3 rankings" in capsys.readouterr().out
    assert main(["feedback", "import", "path=a.jsonl"]) == 0
    assert "new: nothing\nhere before, left as they were: " in capsys.readouterr().out
    assert main(["feedback", "status"]) == 0
    shown = capsys.readouterr().out
    assert "agreement on 1 sets of answers" in shown
    assert "missing: a verdict on 1 sets of answers" in shown
    assert main(["feedback", "export", "out=b.jsonl", "shape=pairs"]) == 0
    assert "7 records: b.jsonl" in capsys.readouterr().out
    for words, told in (
        (["feedback"], "'' is nothing that danlu feedback does; name one of import"),
        (["feedback", "exprot"], "did you mean 'export'?"),
        (["feedback", "status", "db=none.db"], "none.db: no such database"),
        (["feedback", "tasks", "prompts=a.jsonl", "doubled=2"], "doubled is 2.0; it must be from 0 to 1"),
    ):
        assert main(words) == 2
        assert told in capsys.readouterr().err
    assert main(["feedback", "export", "--help"]) == 0
    assert "shape" in capsys.readouterr().out


def test_tasks_are_made_once_from_a_file_of_completions(tmp_path: Path):
    records = [{"prompt": f"{n}?", "completions": ["A.", "B.", "A."]} for n in range(20)]
    prompts, db = write(tmp_path / "p.jsonl", records), str(tmp_path / "x.db")
    config = TasksConfig(prompts=prompts, db=db, doubled=0.5, guideline="Be fair.")
    run(config)
    run(config)
    tasks = [each.body for each in judgements(tmp_path / "x.db", "task")]
    assert len(tasks) == 20
    assert {getattr(each, "overlap", 0) for each in tasks} == {1, 2}
    with Store.open(db) as store:
        given = store.next_tasks("ann")[0]
    assert sorted(text for _, text in given.completions) == ["A.", "A.", "B."]
    assert given.prompt == [{"role": "user", "content": "0?"}]
    assert given.guideline == "Be fair."


def test_gold_questions_need_ranks(tmp_path: Path):
    asked = {"prompt": "Why?", "completions": ["A.", "B."]}
    db = str(tmp_path / "x.db")
    with pytest.raises(ValueError, match=r":1: has no 'ranks'; a gold question needs them. No task was made"):
        run(TasksConfig(prompts=write(tmp_path / "p.jsonl", [asked]), db=db, gold=True))
    run(TasksConfig(prompts=write(tmp_path / "p.jsonl", [{**asked, "ranks": [2, 1]}]), db=db, gold=True))
    with Store.open(db) as store:
        assert status(store).queue.n_gold == 1


def test_a_model_makes_the_completions_with_their_log_probabilities(kit: Any, tmp_path: Path):
    tiny_base(kit, tmp_path / "model")
    config = TasksConfig(
        prompts=kit.prompts,
        db=str(tmp_path / "x.db"),
        model=tmp_path / "model",
        n_completions=3,
        sampling=SamplingConfig(max_new_tokens=8),
    )
    run(config)
    made = [each.body for each in judgements(tmp_path / "x.db", "message")]
    origins = [each.origin for each in made if isinstance(each, Message) and each.role == "assistant"]
    assert len(origins) == 12
    assert {each.model for each in origins} == {model_digest(tmp_path / "model")}
    assert all(len(each.logprobs) == len(each.token_ids) > 0 for each in origins)
    assert all(max(each.logprobs) <= 0 for each in origins)


def test_simulated_people_rank_tasks_and_a_reward_model_learns_from_the_export(kit: Any, tmp_path: Path):
    """The whole way: tasks, several people at work, agreement, export, `danlu reward`."""
    world = World.create(3, WorldSize.for_bytes(100_000))
    asked = [q for category in list(CATEGORIES)[:3] for q in cell(world, "train", category, "en", 6, 1)]
    by_words = {tuple(m["content"] for m in q.messages): q for q in asked}
    records = [
        {
            "prompt": list(q.messages),
            "completions": [
                q.gold["replies"][0],
                "green green",
                asked[i - 1].gold["replies"][0],
                "I will not say.",
            ],
        }
        for i, q in enumerate(asked)
    ]
    db = str(tmp_path / "x.db")
    run(TasksConfig(prompts=write(tmp_path / "p.jsonl", records), db=db, overlap=2, doubled=0.0))
    with Store.open(db) as store:
        for person in annotators.pool(5, 3):
            while given := store.next_tasks(person.id):
                now = given[0]
                question = by_words[tuple(str(m["content"]) for m in now.prompt)]
                ranks = person.rank(question, [text for _, text in now.completions])
                store.add(person.id, now.ranking(ranks, seconds=9.0))
        found = status(store)
        rankings = list(exchange.comparisons(store))
    assert found.counts["ranking"] == len(rankings) == 2 * len(asked)
    assert found.queue.n_missing == 0
    assert found.n_doubled == len(asked)
    # The store's agreement is that of the world's own reckoning, an independent one.
    assert found.agreement == pytest.approx(annotators.agreement(rankings))  # type: ignore[arg-type]
    assert found.agreement is not None
    assert found.agreement > 0.6
    assert found.ranking_alpha is not None
    assert found.ranking_alpha > 0.2
    out = tmp_path / "rankings.jsonl"
    export(Path(db), out, "comparison")
    base = tiny_base(kit, tmp_path / "base")
    config = reward.RewardConfig(
        base=base,
        comparisons=out,
        out=tmp_path / "reward",
        max_len=128,
        too_long="drop",
        n_epochs=1.0,
        loop=LoopConfig(),
        adapter=AdapterConfig(),
    )
    assert (reward.run(config) / "model" / "model.safetensors").exists()


def tiny_base(kit: Any, path: Path) -> Path:
    tokenizer = Tokenizer.load(kit.tokenizer)
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=16,
        d_ff=64, max_seq_len=128,
    )  # fmt: skip
    publish(LanguageModel(shape), tokenizer, path)
    return path


def test_disputes_are_queued_until_somebody_settles_them(tmp_path: Path):
    take_in(
        tmp_path / "x.db", write(tmp_path / "a.jsonl", [OWN, {**OWN, "annotator": "yan", "ranks": [3, 2, 1]}])
    )
    with Store.open(tmp_path / "x.db") as store:
        (dispute,) = disputes(store)
        # The two answers that read the same are no pair: both others are reversed.
        assert (dispute.agreement, dispute.people) == (0.0, ("yan", "zoe"))
        verdict = store.add("boss", Verdict(completions=dispute.completions, ranks=(1, 1, 2)))
        assert disputes(store) == []
        store.undo("boss", verdict.id)
        assert disputes(store) == [dispute]


def test_status_measures_people_by_gold_and_by_each_other(tmp_path: Path):
    gold = {"prompt": "1 + 1?", "completions": ["2", "3"], "ranks": [1, 2]}
    db = str(tmp_path / "x.db")
    run(TasksConfig(prompts=write(tmp_path / "g.jsonl", [gold]), db=db, gold=True))
    with Store.open(db) as store:
        (task,) = store.events("task")
        assert isinstance(task.body, Task)
        for person, ranks in (("ann", (1, 2)), ("bob", (2, 1)), ("cat", (1, 1))):
            store.add(
                person, Ranking(completions=task.body.completions, ranks=ranks, task=task.id, seconds=4)
            )
        found = status(store)
    assert {row.person: row.gold for row in found.people} == {"ann": 1.0, "bob": 0.0, "cat": 0.5}
    assert {row.seconds for row in found.people} == {4}
    assert (found.n_doubled, found.agreement, found.disputes) == (0, None, [])  # gold is no agreement
    run(StatusConfig(db=db))
