"""A tokenizer, models, batches and the four networks of RLHF, as small as they can be and real."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache

import torch

from danlu.data.chats import Chat
from danlu.data.records import Batch
from danlu.data.sft import SftBatches
from danlu.generate.sampler import Sampler
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.rl.judges import CheckedReward
from danlu.rl.rollout import Prompt, Rollout
from danlu.rl.team import PolicyAndValue, Team
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat, Message

TEXTS = ["Hello, who are you? I am Danlu.", "你好，你是谁？我是丹炉。", "What is two and two? Four."] * 6


@lru_cache(maxsize=1)
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, 300)


def chat_format() -> ChatFormat:
    return ChatFormat(tokenizer())


def said(*texts: str) -> list[Message]:
    """A dialogue in which user and assistant take turns."""
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


CHATS = [
    Chat(messages=said("Hello", "I am Danlu.")),
    Chat(messages=said("你好", "我是丹炉。", "你是谁？", "丹炉")),
    Chat(messages=said("What is two and two?", "Four.")),
]


def sft_batch(chats: Sequence[Chat] = CHATS, *, seq_len: int = 160) -> Batch:
    return next(SftBatches(chats, chat_format(), batch_size=1, seq_len=seq_len, seed=0))


def model_config() -> ModelConfig:
    sizes = {"d_model": 32, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "head_dim": 16, "d_ff": 48}
    return ModelConfig(vocab_size=tokenizer().vocab_size, max_seq_len=192, tie_embeddings=False, **sizes)


def language_model() -> LanguageModel:
    """Weights large enough that it is surer of some tokens than of others."""
    model = LanguageModel(model_config(), seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0 if parameter.ndim == 2 else 1.0)
    return model.eval()


def team() -> Team:
    """Policy, reference, value model, and a reward that counts different tokens."""
    policy = language_model()
    sampler = Sampler(policy, stop_ids=chat_format().stop_ids, max_batch=64, kernel="torch")

    def reward(rollouts: Sequence[Rollout]) -> list[float]:
        return [float(len(set(rollout.completion.ids))) for rollout in rollouts]

    value = ScoreModel(model_config(), seed=2).eval()
    trained, judge = PolicyAndValue(policy, value), CheckedReward(reward)
    return Team(trained, deepcopy(policy), sampler, judge, tokenizer().pad_id)


def prompts(n: int) -> list[Prompt]:
    questions = ["Hello", "你是谁？", "What is two and two?", "Who?"]
    ids = [chat_format().prompt(said(question)) for question in questions]
    return [Prompt(str(i), ids[i % len(ids)]) for i in range(n)]
