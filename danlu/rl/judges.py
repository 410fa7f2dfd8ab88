"""What may reward besides a reward model: a function of prompt and answer, or a service."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from numbers import Real
from time import sleep
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch
from torch import Tensor

from danlu.config import ConfigError
from danlu.rl.episodes import episode_text
from danlu.rl.rollout import Prompt, Reward, Rollout
from danlu.tokenizer.chat import ChatFormat

Grade = Callable[[Prompt, str], float]  # what an answer to a prompt is worth
TrueScore = Callable[[str, str], float]  # (prompt id, completion) → what a careful person would say
PAUSE_S = 1.0  # before a service is asked again; twice as long each time


class RewardError(ValueError):
    """Whatever rewards has given no finite number a completion, or nothing in time."""


class CheckedReward:
    """A reward whose numbers are checked; `failed` says that the last call gave none that can be used."""

    def __init__(self, reward: Reward) -> None:
        self.reward, self.failed = reward, False

    def __call__(self, rollouts: Sequence[Rollout]) -> Tensor:
        """One finite score a completion, (batch,)."""
        self.failed = True  # unless the lines below all succeed
        scores = checked(self.reward(rollouts), rollouts)
        self.failed = False
        return scores


def checked(scores: Sequence[object], rollouts: Sequence[Rollout]) -> Tensor:
    """The scores, if there is a finite number for every completion."""
    if len(scores) != len(rollouts):
        raise RewardError(
            f"the reward returned {len(scores)} scores for {len(rollouts)} completions; it must return one "
            "each, in their order"
        )
    for score, rollout in zip(scores, rollouts, strict=True):
        if not isinstance(score, Real) or not math.isfinite(score):
            raise RewardError(
                f"the reward of a completion to prompt {rollout.prompt.id!r} is {score!r}; it must be a "
                "finite number"
            )
    return torch.tensor(scores, dtype=torch.float32)


def reward_of_grade(grade: Grade, chat_format: ChatFormat, timeout_s: float | None = None) -> Reward:
    """A reward from a function of prompt and answer: a rule, a test, or what a task makes of it.

    Args:
        grade: the function.
        chat_format: turns what was sampled into text.
        timeout_s: how long the function may take for one answer; None is for ever. Python is interrupted, C
            code that it calls only once it returns.
    """

    def graded(rollout: Rollout) -> float:
        with at_most(timeout_s, f"the reward of a completion to prompt {rollout.prompt.id!r}"):
            return grade(rollout.prompt, answer_in(rollout, chat_format))

    return lambda rollouts: [graded(rollout) for rollout in rollouts]


def answer_in(rollout: Rollout, chat_format: ChatFormat) -> str:
    """The completion as text; where tools may be called, the whole episode as JSON."""
    if rollout.prompt.tools:
        return episode_text(rollout, chat_format)
    return str(chat_format.parse(rollout.completion.ids)["content"])


@contextmanager
def at_most(seconds: float | None, what: str) -> Generator[None]:
    """Within, a RewardError is raised once the time is over."""
    if seconds is None:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError(f"grade_timeout_s is {seconds:g}; only the main thread can be held to a time")

    def on_alarm(number: int, frame: object) -> None:
        raise RewardError(f"{what} took longer than {seconds:g} s (grade_timeout_s)")

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A service that rewards, asked by HTTP."""

    url: str | None = None  # http:// or https://; it rewards in the reward model's place
    timeout_s: float = 60.0  # without a byte of the answer
    attempts: int = 3  # how often it is asked about the same rollout

    def __post_init__(self) -> None:
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"url is {self.url!r}; it must begin with http:// or https://")
        if self.timeout_s <= 0 or self.attempts < 1:
            raise ConfigError("timeout_s must be above 0 and attempts at least 1")


def reward_of_endpoint(endpoint: Endpoint, chat_format: ChatFormat) -> Reward:
    """A reward from a service: it is sent {"completions": [{"id", "messages", "completion"}, …]} by POST.

    It must answer {"scores": [number, …]}, one a completion, in their order.
    """

    def reward(rollouts: Sequence[Rollout]) -> Sequence[float]:
        asked = [
            {
                "id": rollout.prompt.id,
                "messages": list(rollout.prompt.messages),
                "completion": answer_in(rollout, chat_format),
            }
            for rollout in rollouts
        ]
        return scores_in(posted(endpoint, {"completions": asked}), endpoint)

    return reward


def posted(endpoint: Endpoint, tree: Any) -> bytes:
    """What the service answers; asked again while it is out of reach or has failed by its own fault."""
    request = Request(
        str(endpoint.url),
        data=json.dumps(tree, ensure_ascii=False).encode(),
        headers={"Content-Type": "application/json"},
    )
    for attempt in range(endpoint.attempts):
        try:
            with urlopen(request, timeout=endpoint.timeout_s) as answer:
                return answer.read()
        except (OSError, HTTPException) as error:
            refused = isinstance(error, HTTPError) and error.code < 500
            if refused or attempt + 1 == endpoint.attempts:
                raise RewardError(
                    f"{endpoint.url}: no scores in {attempt + 1} attempts ({error or type(error).__name__})"
                ) from error
            sleep(PAUSE_S * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def scores_in(answer: bytes, endpoint: Endpoint) -> Sequence[float]:
    """The list of scores in what a service answered."""
    try:
        scores = json.loads(answer)["scores"]
    except (ValueError, KeyError, TypeError):
        scores = None
    if not isinstance(scores, list):
        raise RewardError(
            f'{endpoint.url}: answered {answer[:80]!r}; it must be {{"scores": [one number a completion]}}'
        )
    return scores
