"""A whole recipe's inputs in miniature: text, tokenizer, shards, demonstrations, rankings, prompts."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_shape import SHAPE

from danlu.data.shards import TokenizedDocument, write_shards
from danlu.recipes.pretrain import PretrainConfig
from danlu.tokenizer.bpe import Tokenizer
from danlu.train.loop import LoopConfig

COLOURS = {"sky": "blue", "grass": "green", "snow": "white", "coal": "black"}


@dataclass(frozen=True)
class Kit:
    """Paths of everything a stage may read."""

    root: Path

    @property
    def tokenizer(self):
        return self.root / "tokenizer"

    @property
    def shards(self):
        return self.root / "shards"

    @property
    def chats(self):
        return self.root / "chats.jsonl"

    @property
    def comparisons(self):
        return self.root / "comparisons.jsonl"

    @property
    def ratings(self):
        return self.root / "ratings.jsonl"

    @property
    def prompts(self):
        return self.root / "prompts.jsonl"

    @property
    def base(self):
        return self.root / "pretrain" / "model"

    @property
    def chat_model(self):
        return self.root / "sft" / "model"

    @property
    def reward_model(self):
        return self.root / "reward" / "model"

    def pretrain_config(self, out, n_steps, **changed):
        defaults = {
            "model": SHAPE,
            "batch_size": 4,
            "seq_len": 32,
            "loop": LoopConfig(n_steps=n_steps),
            "eval_every": 4,
            "save_every": 3,
            "sample_prompts": ("The sky",),
        }
        return PretrainConfig(
            tokenizer=self.tokenizer, shards=self.shards, out=out, **{**defaults, **changed}
        )


def write_lines(path, records):
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")


def question(thing):
    return [{"role": "user", "content": f"What colour is {thing}?"}]


@pytest.fixture(scope="session")
def kit(tmp_path_factory):
    kit = Kit(tmp_path_factory.mktemp("kit"))
    rng = random.Random(0)
    texts = [f"The {thing} is {colour}. 天是蓝的。" for thing, colour in COLOURS.items() for _ in range(40)]
    rng.shuffle(texts)
    tokenizer = Tokenizer.train(texts, 320)
    tokenizer.save(kit.tokenizer)
    for part, some in (("train", texts), ("held_out", texts[:8])):
        write_shards(
            [TokenizedDocument(ids=tokenizer.encode(t), lang="en") for t in some],
            kit.shards / part,
            token_bytes=[len(tokenizer.decode_bytes([i])) for i in range(tokenizer.vocab_size)],
            eos_id=tokenizer.eos_id,
            fingerprint=tokenizer.fingerprint,
        )
    answers = [(question(t), f"It is {c}.") for t, c in COLOURS.items()]
    write_lines(
        kit.chats,
        [{"messages": [*q, {"role": "assistant", "content": a}]} for q, a in answers for _ in range(4)],
    )
    write_lines(
        kit.comparisons,
        [
            {"prompt": q, "completions": [a, "I will not say.", "green green", a], "ranks": [1, 2, 3, 1]}
            for q, a in answers
            for _ in range(3)
        ],
    )
    thumbs = {True: "up", False: "down"}
    write_lines(
        kit.ratings,
        [
            {"messages": [*q, {"role": "assistant", "content": said}], "thumb": thumbs[said == a]}
            for q, a in answers
            for said in (a, "I will not say.", "green green")
        ],
    )
    write_lines(kit.prompts, [{"id": thing, "messages": question(thing)} for thing in COLOURS])
    return kit
