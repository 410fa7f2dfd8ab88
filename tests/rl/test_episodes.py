"""Rollouts with tools: what is learnt of them, what rewards them, and when they end."""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch

from danlu.data.records import Batch
from danlu.dialogue.tool_loop import LoopLimits
from danlu.generate.sampler import Completion
from danlu.generate.sampling import SamplingConfig
from danlu.rl.episodes import Player
from danlu.rl.judges import answer_in, reward_of_grade
from danlu.rl.rollout import Prompt, Rollout, lay_out
from danlu.tokenizer.bpe import SMALLEST_VOCAB, Tokenizer
from danlu.tokenizer.chat import ChatFormat, Message
from danlu.tools import builtin
from danlu.tools.protocol import Toolbox, ToolLimits
from danlu.world.tool_tasks import ToolExam, tool_cell
from danlu.world.truth import World

CHAT = ChatFormat(Tokenizer.train([], SMALLEST_VOCAB))
BOX = Toolbox([builtin.calculator()], ToolLimits(wall_s=600))
QUESTION: list[Message] = [{"role": "user", "content": "2*3?"}]


def prompt(tools: Sequence[dict] = BOX.schemas) -> Prompt:
    return Prompt("q", CHAT.prompt(QUESTION, tools), QUESTION, tools)


def called(expression: str) -> list[int]:
    arguments = json.dumps({"expression": expression})
    return [CHAT.call_id, *CHAT.tokenizer.encode(f"calculator\n{arguments}"), CHAT.tokenizer.im_end_id]


def said(text: str) -> list[int]:
    return [*CHAT.tokenizer.encode(text), CHAT.tokenizer.im_end_id]


class Scripted:
    """A sampler that says one thing a turn, each token with log-probability -1."""

    def __init__(self, turns: Sequence[Sequence[int]], *, cut: bool = False) -> None:
        self.turns, self.cut = list(turns), cut
        self.asked: list[list[list[int]]] = []
        self.seeds: list[int] = []

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig, n: int = 1
    ) -> list[Completion]:
        self.asked.append([list(each) for each in prompts])
        self.seeds.append(sampling.seed)
        ids = self.turns[min(len(self.asked), len(self.turns)) - 1]
        reason = "length" if self.cut else "stop"
        done = Completion(ids=tuple(ids), logprobs=(-1.0,) * len(ids), finish_reason=reason)
        return [done] * (len(prompts) * n)


def player(max_seq_len: int = 2000, **limits: int) -> Player:
    return Player(chat=CHAT, toolbox=BOX, limits=LoopLimits(**limits), max_seq_len=max_seq_len)


def test_the_second_turn_is_asked_with_exactly_the_rendered_conversation():
    sampler = Scripted([called("2*3"), said("It is 6.")])
    (rollout,) = player().play(sampler, [prompt()], SamplingConfig(seed=5), 1)
    conversation = [*QUESTION, *rollout.said[:2]]
    assert sampler.asked[1] == [CHAT.prompt(conversation, BOX.schemas)]
    assert [each["content"] for each in rollout.said] == ["", '"6"', "It is 6."]
    assert rollout.ended
    assert len(set(sampler.seeds)) == 2


def test_only_what_the_policy_said_is_learnt():
    sampler = Scripted([called("2*3"), said("It is 6.")])
    rollouts = player().play(sampler, [prompt()], SamplingConfig(), 2)
    batch = lay_out(rollouts, CHAT.tokenizer.pad_id)
    assert isinstance(batch, Batch)
    for row in range(2):
        learnt = batch.target_ids[row][batch.loss_mask[row]].tolist()
        assert learnt == [*called("2*3"), *said("It is 6.")]
    assert rollouts[0].sampled_logprobs == [-1.0] * int(batch.loss_mask[0].sum())
    assert torch.equal(batch.input_ids[0], batch.input_ids[1])


def test_an_episode_ends_with_its_turns_or_its_room():
    endless = Scripted([called("1+1")])
    (rollout,) = player(n_turns=3).play(endless, [prompt()], SamplingConfig(), 1)
    assert (len(endless.asked), rollout.ended) == (3, False)
    ids = prompt().ids
    (rollout,) = player(len(ids) + len(called("1+1")) + 10).play(endless, [prompt()], SamplingConfig(), 1)
    assert rollout.completion.ids == tuple(called("1+1"))
    assert not rollout.ended


def test_a_prompt_without_tools_is_one_turn_whatever_is_said():
    (rollout,) = player().play(Scripted([called("1+1")]), [prompt(())], SamplingConfig(), 1)
    assert rollout.completion.ids == tuple(called("1+1"))
    assert answer_in(rollout, CHAT) == ""


def test_a_tasks_grade_rewards_right_calls():
    (task,) = tool_cell(World.create(0), "train", "calculator", "en", 1, seed=0)
    exam = ToolExam([task])
    asked = Prompt(task.id, CHAT.prompt(task.messages, BOX.schemas), task.messages, BOX.schemas)  # type: ignore[arg-type]
    expression, answer = task.calls[0].arguments["expression"], task.question.gold["replies"][0]
    reward = reward_of_grade(lambda _, text: exam.grade(task, text), CHAT)

    def score(*turns: list[int]) -> float:
        (rollout,) = player().play(Scripted(turns), [asked], SamplingConfig(), 1)
        return reward([rollout])[0]

    assert score(called(expression), said(answer)) == 1.0
    assert score(called(expression), said("I do not know.")) == 0.5
    assert score(said(answer)) == 0.5
    forged = f'calculator\n{{"expression": "{expression}"}} {answer}'
    assert score(said(forged)) == 0.0  # a call that is only written is none


def test_without_a_player_the_first_turn_is_the_episode():
    done = Completion(ids=tuple(called("2*3")), logprobs=(), finish_reason="stop")
    (turn,) = json.loads(answer_in(Rollout(prompt(), done), CHAT))
    assert turn["tool_calls"][0]["function"] == {"name": "calculator", "arguments": '{"expression": "2*3"}'}
