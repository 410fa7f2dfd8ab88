"""Rollouts in which the policy calls tools: what a tool says stands between its turns and is not learnt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from danlu.dialogue.tool_loop import LoopLimits, ToolLoop
from danlu.generate.sampler import Completion
from danlu.generate.sampling import SamplingConfig
from danlu.rl.rollout import Generates, Prompt, Rollout
from danlu.tokenizer.chat import ChatFormat, Message
from danlu.tools.protocol import Toolbox

TURN_SEED = 15_485_863  # between the seeds of one turn and the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """Takes prompts that come with tools to their answer."""

    chat: ChatFormat
    toolbox: Toolbox
    limits: LoopLimits
    max_seq_len: int  # prompt, turns and results together

    def play(
        self, sampler: Generates, prompts: Sequence[Prompt], sampling: SamplingConfig, n: int
    ) -> list[Rollout]:
        """`n` episodes of each prompt, those of one prompt side by side."""
        first = sampler.generate([prompt.ids for prompt in prompts], sampling, n)
        episodes = [_Episode(self, prompt) for prompt in prompts for _ in range(n)]
        for episode, completion in zip(episodes, first, strict=True):
            episode.take(completion)
        while waiting := [episode for episode in episodes if episode.waits]:
            sampling = replace(sampling, seed=sampling.seed + TURN_SEED)
            asked = [[*episode.prompt.ids, *episode.ids] for episode in waiting]
            for episode, completion in zip(waiting, sampler.generate(asked, sampling), strict=True):
                episode.take(completion)
        return [episode.rollout for episode in episodes]


@dataclass(slots=True)
class _Episode:
    player: Player
    prompt: Prompt
    loop: ToolLoop = field(init=False)
    ids: list[int] = field(default_factory=list[int])  # after the prompt
    logprobs: list[float] = field(default_factory=list[float])
    chosen: list[bool] = field(default_factory=list[bool])
    is_full: bool = False  # results no longer fit into the context

    def __post_init__(self) -> None:
        self.loop = ToolLoop(self.player.toolbox, self.player.limits)

    @property
    def waits(self) -> bool:
        return self.loop.ending is None and not self.is_full and bool(self.prompt.tools)

    @property
    def rollout(self) -> Rollout:
        completion = Completion(
            ids=tuple(self.ids),
            logprobs=tuple(self.logprobs),
            finish_reason="stop" if self.loop.ending == "answer" else "length",
        )
        return Rollout(self.prompt, completion, tuple(self.chosen), tuple(self.loop.said))

    def take(self, completion: Completion) -> None:
        """A turn of the policy; the results of its calls follow, where there is room for them."""
        self._add(completion.ids, completion.logprobs, chosen=True)
        said = self.player.chat.parse(completion.ids)
        if not self.prompt.tools:
            said: Message = {"role": "assistant", "content": said["content"]}
        results = self.loop.take(said, cut=completion.finish_reason == "length")[1:]
        if self.loop.ending is None:
            given = self.player.chat.going_on(results)
            self.is_full = len(self.prompt.ids) + len(self.ids) + len(given) >= self.player.max_seq_len
            if not self.is_full:
                self._add(given, [0.0] * len(given), chosen=False)

    def _add(self, ids: Sequence[int], logprobs: Sequence[float], *, chosen: bool) -> None:
        self.ids += ids
        self.logprobs += logprobs
        self.chosen += [chosen] * len(ids)


def episode_text(rollout: Rollout, chat: ChatFormat) -> str:
    """Everything said after the prompt, as a JSON list of messages: nothing in a text forges a call."""
    said = rollout.said or (chat.parse(rollout.completion.ids),)
    return json.dumps(list(said), ensure_ascii=False)
