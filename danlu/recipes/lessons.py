"""The steps of `danlu teach`; they meet through the files of its directory.

`data/` holds what was collected, `sft/`, `reward/` and `ppo/` are run directories of those stages,
`steps.json` and `done.json` say how far it is, `result.json` is the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from danlu.config import ConfigError
from danlu.data import shapes
from danlu.data.chats import read_chats
from danlu.feedback import exchange
from danlu.feedback.body import SURROGATE, derived_id
from danlu.feedback.event import message_of
from danlu.feedback.records import Message as Said
from danlu.feedback.records import Task
from danlu.feedback.store import Store
from danlu.model.hf import load_language_model
from danlu.recipes import ppo, reward, sft
from danlu.recipes.embedded import write_jsonl
from danlu.recipes.job import Ledger
from danlu.recipes.policy import read_prompts
from danlu.recipes.ppo import PpoConfig
from danlu.recipes.preferences import compare_speakers
from danlu.recipes.ranking_tasks import lot_of
from danlu.recipes.reward import RewardConfig
from danlu.recipes.round_settings import OPEN
from danlu.recipes.samples import answers_side_by_side
from danlu.recipes.sft import SftConfig
from danlu.recipes.speaker import load_speaker
from danlu.recipes.stage import chat_format_of
from danlu.tokenizer.chat import ChatError, ChatFormat, Message, check_messages
from danlu.train.checkpoint import replace_file

Stage = Literal["sft", "reward", "ppo", "round"]
Tree = dict[str, Any]
# As many epochs as InstructGPT's (Ouyang et al. 2022, section 3.5), or as the minutes allow.
OPEN_SFT = SftConfig(base=OPEN, data=OPEN, out=OPEN, too_long="drop", n_epochs=16.0)
# Of few demonstrations an epoch would be one update, or less.
FOR_A_ROW = 50  # demonstrations for each row of a batch
FEW_EPOCHS = 40.0  # at least, where there are fewer: 16 updates do not change what a model calls itself
SHOWN = 8  # held-out prompts whose answers are shown side by side
MOST_MEASURED = 400  # held-out prompts that are answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson(Ledger):
    """One lesson: who is taught, from what, and where it lies."""

    model: Path
    db: str
    stage: Stage
    given_reward_model: Path | None
    minutes: float
    held_out: float
    seed: int
    sft: SftConfig
    reward: RewardConfig
    ppo: PpoConfig

    def data(self, name: str) -> Path | None:
        """A file of what was collected; None if there is nothing of the kind."""
        path = self / "data" / f"{name}.jsonl"
        return path if path.exists() else None

    def needed(self, name: str, what: str) -> Path:
        """The same, where nothing is an error."""
        path = self.data(name)
        if path is None:
            raise ConfigError(
                f"{self.db}: holds no {what} to learn from; `danlu feedback status` says what it has"
            )
        return path

    def steps(self) -> list[str]:
        """What there is to do after collecting."""
        if self.stage != "round":
            return [self.stage, "compare"]
        first = ["sft"] if self.data("demonstrations") else []
        return [*first, "reward", "ppo", "compare"]

    @property
    def policy(self) -> Path:
        """What the reward model and PPO begin from."""
        made = self / "sft" / "model"
        return made if made.exists() else self.model

    @property
    def reward_model(self) -> Path:
        return self.given_reward_model or self / "reward" / "model"


def collect(job: Lesson) -> None:
    """Write what people said into files, divided by prompt into what is learnt and what is measured on."""
    chat_format = chat_format_of(job.model)
    with Store.open(job.db, create=False) as store:
        found = {name: list(RECORDS[name](store)) for name in READS[job.stage]}
    longest = load_speaker(job.model).max_seq_len - job.ppo.rollout.max_new_tokens
    for name, records in found.items():
        fitting = [each for each in records if is_usable(each, name, chat_format, longest)]
        if len(fitting) < len(records):
            print(f"left out: {len(records) - len(fitting):,} {name} that this model cannot read")
        for part, some in divide(fitting, job.held_out).items():
            if some:
                write_jsonl(job / "data" / f"{part}{name}.jsonl", some)


def is_usable(record: Tree, name: str, chat_format: ChatFormat, longest: int) -> bool:
    """Whether every text can be encoded, and a prompt leaves room for an answer."""
    if SURROGATE.search(json.dumps(record, ensure_ascii=False)):
        return False
    try:
        if name == "prompts":
            return len(chat_format.prompt(record["messages"])) <= longest
        shapes.dialogue(record) if name == "demonstrations" else shapes.comparison(record)
        check_messages(prompt_in(record))
    except (shapes.ShapeError, ChatError):
        return False
    return name != "rankings" or all(has_tokens(record))


def has_tokens(ranking: Tree) -> Iterator[bool]:
    """Of each completion, whether it has a token: one that was cut before it began has none."""
    unfinished = ranking.get("unfinished") or [False] * len(ranking["completions"])
    for text, cut in zip(ranking["completions"], unfinished, strict=True):
        yield bool(text) or not cut


def prompt_in(record: Tree) -> Sequence[Message]:
    """What was answered."""
    if "prompt" in record:
        return record["prompt"]
    messages: Sequence[Message] = record["messages"]
    return messages[:-1] if messages[-1]["role"] == "assistant" else messages


def prompts_of(store: Store) -> Iterable[Tree]:
    """Every different prompt: of the tasks, and what people said last in conversations."""
    seen: dict[str, Tree] = {}
    wanted = [event.body.prompt for event in store.events(Task.kind) if isinstance(event.body, Task)]
    wanted += [
        event.id
        for event in store.events(Said.kind)
        if isinstance(event.body, Said) and event.body.role == "user"
    ]
    for thread in store.threads(dict.fromkeys(wanted)):
        messages = [message_of(each) for each in thread]
        if messages[-1]["role"] == "user":
            name = derived_id("prompt", messages)
            seen.setdefault(name, {"id": name, "messages": messages})
    return seen.values()


def divide(records: Sequence[Tree], held_out: float) -> dict[str, list[Tree]]:
    """By prompt alone, so that every lesson is measured on the same; something is always learnt."""
    parts: dict[str, list[Tree]] = {"": [], "held_out_": []}
    for record in records:
        parts["held_out_" if lot_of(prompt_in(record), "lesson") < held_out else ""].append(record)
    if not parts[""]:
        return {"": parts["held_out_"], "held_out_": []}
    return parts


def demonstrate(job: Lesson) -> None:
    """SFT on what people wrote."""
    data = job.needed("demonstrations", "demonstrations or better answers")
    n = len(read_chats(data))
    sft.run(
        replace(
            job.sft,
            batch_size=min(job.sft.batch_size, max(1, n // FOR_A_ROW)),
            n_epochs=job.sft.n_epochs if n >= FOR_A_ROW else max(job.sft.n_epochs, FEW_EPOCHS),
            base=job.model,
            data=data,
            held_out=job.data("held_out_demonstrations"),
            out=job / "sft",
            minutes=job.minutes,
            seed=job.seed,
        )
    )


def train_reward(job: Lesson) -> None:
    """A reward model on what people ranked."""
    reward.run(
        replace(
            job.reward,
            base=job.policy,
            comparisons=job.needed("rankings", "rankings"),
            held_out=job.data("held_out_rankings"),
            demonstrations=job.data("demonstrations"),
            out=job / "reward",
            minutes=job.minutes,
            too_long="shorten",
            seed=job.seed,
        )
    )


def align(job: Lesson) -> None:
    """PPO on every prompt that was not held out."""
    ppo.run(
        replace(
            job.ppo,
            policy=job.policy,
            reward_model=job.reward_model,
            prompts=job.needed("prompts", "prompts"),
            demonstrations=job.data("demonstrations"),
            out=job / "ppo",
            minutes=job.minutes,
            seed=job.seed,
        )
    )


def compare(job: Lesson) -> None:
    """The table of before and after, and what both say to the same prompts."""
    made = next((name for name in ("ppo", "sft") if (job / name / "model").exists()), None)
    table = [*demonstrations_row(job), *ranking_row(job)]
    samples: list[Tree] = []
    if made is not None:
        rows, samples = answers_of(job, job / made / "model")
        table += rows
    result = {
        "model": f"{made}/model" if made else "",
        "reward_model": "reward/model" if (job / "reward" / "model").exists() else "",
        "table": table,
        "samples": samples,
    }
    replace_file(job / "result.json", json.dumps(result, ensure_ascii=False, indent=1))


def demonstrations_row(job: Lesson) -> list[Tree]:
    """How surprising people's own held-out answers are, in nats a token."""
    held_out = job.data("held_out_demonstrations")
    if held_out is None or not (job / "sft" / "model").exists():
        return []
    chats, chat_format = read_chats(held_out), chat_format_of(job.model)
    losses = [
        sft.loss_on(load_language_model(path), chats, chat_format, job.sft)
        for path in (job.model, job / "sft" / "model")
    ]
    return [row("loss", len(chats), *losses)]


def ranking_row(job: Lesson) -> list[Tree]:
    """On how many held-out pairs the reward model agrees with people."""
    path = job / "reward" / "summary.json"
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    measured = found.get("held_out")
    if not measured or measured["accuracy"] is None:
        return []
    return [row("accuracy", measured["n_pairs"], None, measured["accuracy"]["mean"])]


def answers_of(job: Lesson, after: Path) -> tuple[list[Tree], list[Tree]]:
    """The reward model's mean score of both models' answers to held-out prompts, and some of the answers."""
    path = job.data("held_out_prompts")
    if path is None:
        return [], []
    speakers = {"before": load_speaker(job.model), "after": load_speaker(after)}
    longest = speakers["before"].max_seq_len - job.ppo.rollout.max_new_tokens
    prompts = [each.messages for each in read_prompts(path, speakers["before"].chat, longest)]
    samples = answers_side_by_side(speakers, prompts[:SHOWN])
    if not job.reward_model.exists():
        return [], samples
    some = prompts[:MOST_MEASURED]
    found = compare_speakers([job.reward_model], speakers, some, job.ppo.rollout.max_new_tokens)
    scores = [found[name]["score"] for name in speakers]
    return [row("score", found["n"], *scores, difference=found["difference"])], samples


def row(what: str, n: int, before: float | None, after: float, **more: Any) -> Tree:
    """One line of the table."""
    return {"what": what, "n": n, "before": before, "after": after, **more}


RECORDS: Mapping[str, Callable[[Store], Iterable[Tree]]] = {
    "demonstrations": partial(exchange.chats, whole=False),
    "rankings": partial(exchange.comparisons, final=True, whole=False),
    "prompts": prompts_of,
}
# Demonstrations give a reward model's scores their zero; prompts show what a policy has learnt.
READS: Mapping[Stage, Sequence[str]] = {
    "sft": ("demonstrations", "prompts"),
    "reward": ("demonstrations", "rankings"),
    "ppo": ("demonstrations", "prompts"),
    "round": ("demonstrations", "rankings", "prompts"),
}
