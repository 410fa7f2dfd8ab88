"""Everything from files: people's demonstrations and rankings instead of the embedded world's.

Stages read what is written here: chats, rankings and prompts that fit, and, apart from them, those whose
prompt is held out. The hash of a dialogue's first question decides that, so that what belongs together stays
together, whichever file it stands in.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from danlu.data.chats import Chat, Comparison, read_chats, read_comparisons
from danlu.data.dedup import digest
from danlu.data.language import identify
from danlu.data.rankings import tokenize_comparison, without_oldest
from danlu.data.records import DataError
from danlu.data.sft import render_chat
from danlu.recipes import data
from danlu.recipes.jsonl import write_jsonl
from danlu.recipes.own_text import OwnText, references
from danlu.recipes.plan import Plan
from danlu.recipes.preferences import compare_rewards, measure_preferences
from danlu.recipes.samples import answers_side_by_side
from danlu.recipes.speaker import Speaker
from danlu.recipes.verdict import verdict
from danlu.rl.collect import RolloutConfig
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat, Message
from danlu.train.checkpoint import replace_file

MANY = 10  # answers from which a ranking is measured apart
MOST_EPOCHS = {"sft": 3.0, "reward": 1.0}  # a reward model learns rankings by heart in more
PACE = 0.7  # tokens a second of these stages, beside pretraining's: rows are padded, answers measured
N_SHOWN, MOST_SHOWN = 2, 12  # samples of each source in each language, and in all
EVAL_EVERY = 200  # updates: measuring on held-out chats and rankings takes seconds
MOST_MEASURED = 400  # held-out chats, and prompts on which rewards are compared

Record = dict[str, Any]
R = TypeVar("R", Chat, Comparison)


class Files:
    """Texts, chats and rankings from files; there is no exam, people's rankings are the measure."""

    true_score = None

    def __init__(self, own: OwnText, plan: Plan, out: Path) -> None:
        self.own, self.config, self.plan, self.out = own, own.config, plan, out

    @cached_property
    def chat_format(self) -> ChatFormat:
        return ChatFormat(Tokenizer.load(self.out / "tokenizer"))

    def write_texts(self, raw: Path, clean: Path) -> None:
        self.own.write_clean(raw, clean, self.plan.corpus_bytes)

    def settings(self, stage: str, seconds: float) -> dict[str, Any]:
        """Lengths, and as many epochs as fit into the time."""
        config = self.config
        if stage == "ppo":
            return {"rollout": RolloutConfig(max_new_tokens=config.max_new_tokens)}
        name = {"sft": "demonstrations", "reward": "rankings"}[stage]
        n_tokens = json.loads((self.out / "teaching" / "account.json").read_text())[name]["tokens"]
        epochs = min(MOST_EPOCHS[stage], PACE * seconds * self.plan.tokens_per_s / n_tokens)
        length = {"sft": "seq_len", "reward": "max_len"}[stage]
        return {length: config.max_len, "n_epochs": round(epochs, 2), "eval_every": EVAL_EVERY}

    def write_demonstrations(self, path: Path) -> None:
        """Chats that fit, and apart from them those whose first question is held out."""
        train: list[Record] = []
        held_out: list[Record] = []
        n_tokens = n_read = 0
        for source, chat in labelled(self.config.demonstrations, read_chats):
            n_read += 1
            n_ids = len(render_chat(chat, self.chat_format)[0])
            if n_ids > self.config.max_len:
                continue
            record: Record = {"id": f"{source}/{chat.id}", "messages": list(chat.messages)}
            if chat.tools:
                record["tools"] = list(chat.tools)
            if self.is_held_out(chat.messages):
                held_out.append(record)
            else:
                train.append(record)
                n_tokens += n_ids
        if not train:
            raise DataError(
                f"data.demonstrations: {n_read} chats were read, and of those that are not held out none has "
                f"at most data.max_len, {self.config.max_len}, tokens"
            )
        write_jsonl(path, train)
        write_some(path.with_name("held_out_demonstrations.jsonl"), spread(held_out, MOST_MEASURED))
        n_left_out = n_read - len(train) - len(held_out)
        self.note(demonstrations={"chats": len(train), "tokens": n_tokens, "too_long": n_left_out})

    def write_rankings(self, model: Path, train: Path, held_out: Path) -> dict[str, Any]:
        """Rankings that fit; held-out ones are people's only, those of many answers by themselves."""
        parts: dict[str, list[Record]] = defaultdict(list)
        too_long: Counter[str] = Counter()
        n_tokens = 0
        for source, comparison, by_people in self.comparisons():
            fitting = self.shortened(comparison)
            if fitting is None:
                too_long[source] += 1
                continue
            prompt, size = fitting
            apart = self.is_held_out(comparison.prompt)
            many = "many" if len(comparison.completions) >= MANY else "held_out"
            parts["train" if not apart else many if by_people else "unused"].append(
                ranking_record(source, comparison, prompt)
            )
            n_tokens += 0 if apart else size
        if not parts["train"]:
            raise DataError(
                f"data.comparisons: none that is not held out fits into data.max_len, {self.config.max_len} "
                f"tokens; {too_long.total()} were too long"
            )
        write_jsonl(train, parts["train"])
        write_some(held_out, parts["held_out"])
        write_some(held_out.with_name("many_rankings.jsonl"), parts["many"])
        counts = {f"n_{name}": len(parts[name]) for name in ("held_out", "many")}
        self.note(rankings={"rankings": len(parts["train"]), "tokens": n_tokens, "too_long": too_long})
        return {"n_rankings": len(parts["train"]), **counts, "n_too_long": too_long.total()}

    def comparisons(self) -> Iterator[tuple[str, Comparison, bool]]:
        """Every comparison with its source, and whether people made it."""
        for paths, by_people in ((self.config.comparisons, True), (self.config.machine_comparisons, False)):
            for source, comparison in labelled(paths, read_comparisons):
                yield source, comparison, by_people

    def shortened(self, comparison: Comparison) -> tuple[Sequence[Message], int] | None:
        """The prompt without as many of its oldest exchanges as do not fit; tokens of it and its answers."""
        prompt = list(comparison.prompt)
        while True:
            group = tokenize_comparison(comparison, self.chat_format, prompt)
            if group.longest <= self.config.max_len:
                return prompt, group.n_tokens
            shorter = without_oldest(prompt)
            if len(shorter) == len(prompt):
                return None
            prompt = shorter

    def is_held_out(self, messages: Sequence[Message]) -> bool:
        first = next(message["content"] for message in messages if message["role"] == "user")
        return int.from_bytes(digest(first), "little") / 2**64 < self.config.held_out

    def write_prompts(self, path: Path) -> None:
        """What rankings are about, and as many questions of demonstrations; apart, some that are held out."""
        teaching = path.parent
        for name, place in (("", path), ("held_out_", path.with_name("held_out_prompts.jsonl"))):
            ranked = self.prompts_of(teaching / f"{name}rankings.jsonl")
            asked = self.prompts_of(teaching / f"{name}demonstrations.jsonl")
            n_each = MOST_MEASURED // 2 if name else max(len(ranked), 1000)
            write_jsonl(place, distinct([*spread(ranked, n_each), *spread(asked, n_each)]))

    def prompts_of(self, path: Path) -> list[Record]:
        """The prompts of rankings or chats that leave room for an answer, and of them the shorter."""
        room = min(self.config.max_len - self.config.max_new_tokens, self.config.max_len // 2)
        found: list[Record] = []
        for record in read_jsonl(path):
            messages = record.get("prompt") or before_answer(record["messages"])
            if len(self.chat_format.prompt(messages)) <= room:
                found.append({"id": record["id"], "messages": messages})
        return found

    def judge(self, model: Path, reward_model: Path) -> dict[str, Any]:
        """The reward model and counts of words on rankings by people that neither has seen."""
        return measure_preferences(reward_model, self.out / "teaching")

    def examine(self, speakers: Mapping[str, Speaker], folder: Path) -> dict[str, Any]:
        """The first held-out questions with every system's answer, and what the reward model says of more."""
        teaching = self.out / "teaching"
        asked = read_jsonl(teaching / "held_out_demonstrations.jsonl")
        questions = [before_answer(record["messages"]) for record in first_of_each(asked)]
        write_jsonl(folder / "samples.jsonl", answers_side_by_side(speakers, questions))
        prompts = [record["messages"] for record in read_jsonl(teaching / "held_out_prompts.jsonl")]
        if not prompts:
            return {}
        reward_model, pair = self.out / "reward" / "model", (speakers["sft"], speakers["ppo"])
        return {"rewards": compare_rewards(reward_model, *pair, prompts, self.config.max_new_tokens)}

    def references(self, clean: Path) -> dict[str, dict[str, float]]:
        return references(clean)

    def conclude(self, run_dir: Path) -> None:
        """Say in plain words what came out."""
        notes = verdict(run_dir)
        replace_file(run_dir / "notes.json", json.dumps(notes, ensure_ascii=False, indent=1))
        print(notes["en"])

    def note(self, **facts: Record) -> None:
        """Keep counts that later stages need, in `teaching/account.json`."""
        path = self.out / "teaching" / "account.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        replace_file(path, json.dumps({**known, **facts}, indent=1))


def labelled(paths: Sequence[Path], read: Callable[[Path], list[R]]) -> Iterator[tuple[str, R]]:
    """Every record of some paths, with the name of its source."""
    for path in paths:
        is_file = bool(path.suffix) and path.parent.name
        source = path.parent.name if is_file else path.name
        for record in read(data.located(path)):
            yield source, record


def ranking_record(source: str, comparison: Comparison, prompt: Sequence[Message]) -> Record:
    return {
        "id": f"{source}/{comparison.id}",
        "prompt": list(prompt),
        "completions": list(comparison.completions),
        "ranks": list(comparison.ranks),
        "annotator": comparison.annotator,
        **({"strengths": list(comparison.strengths)} if comparison.strengths else {}),
    }


def first_of_each(records: Sequence[Record]) -> list[Record]:
    """The first chats of each source in each language: nobody picked them for their answers."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    asked: set[str] = set()
    for record in records:
        question = record["messages"][0]["content"]
        if question not in asked:
            groups[record["id"].split("/")[0], identify(question)].append(record)
        asked.add(question)
    return [record for group in groups.values() for record in group[:N_SHOWN]][:MOST_SHOWN]


def before_answer(messages: Sequence[Message]) -> list[Message]:
    """A dialogue up to where the assistant speaks first."""
    end = next(i for i, message in enumerate(messages) if message["role"] == "assistant")
    return list(messages[:end])


def spread(records: Sequence[Record], n: int) -> list[Record]:
    """At most `n` records, from all places alike."""
    step = max(1.0, len(records) / n)
    return [records[int(i * step)] for i in range(min(n, len(records)))]


def distinct(records: Iterable[Record]) -> list[Record]:
    """The first record of each prompt."""
    found: dict[str, Record] = {}
    for record in records:
        found.setdefault(json.dumps(record["messages"], ensure_ascii=False), record)
    return list(found.values())


def write_some(path: Path, records: Sequence[Record]) -> None:
    """A file, unless there is nothing to write."""
    if records:
        write_jsonl(path, records)


def read_jsonl(path: Path) -> list[Record]:
    """What `write_some` wrote."""
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    )
