"""Chains of thought sampled side by side, and the answer that most of them agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from danlu.config import ConfigError
from danlu.data.language import identify
from danlu.dialogue.reasoning import INSTRUCTION, Thought, Vote, think, vote
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.recipes.speaker import Speaker
from danlu.tokenizer.chat import Message
from danlu.tools.visible import visible

MOST_CHAINS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingConfig:
    ask: bool = True  # tell the model to think step by step; one that does so by itself need not be told
    show: bool = False  # every chain, not only the first of the majority


@dataclass(frozen=True, slots=True)
class Considered:
    """Several chains and what came of them."""

    thoughts: Sequence[Thought]
    vote: Vote


def consider(
    speaker: Speaker,
    messages: Sequence[Message],
    sampling: SamplingConfig,
    n_chains: int,
    config: ThinkingConfig,
) -> Considered:
    """Sample chains of thought to a conversation; each has random numbers of its own."""
    if n_chains > 1 and sampling.temperature == 0:
        raise ConfigError(f"think is {n_chains} and sampling.temperature is 0; all chains would be the same")
    chat = speaker.chat
    ids = chat.prompt(asked_to_think(messages) if config.ask else messages)
    speaker.check_room(ids)
    sampler = Sampler(
        speaker.model,
        stop_ids=chat.stop_ids,
        forbidden_ids=chat.tokenizer.control_ids - chat.stop_ids,
        max_batch=min(64, n_chains),
    )
    chains = sampler.generate([ids], sampling, n=n_chains)
    texts = [str(chat.parse(chain.ids)["content"]) for chain in chains]
    cuts = [chain.finish_reason == "length" for chain in chains]
    thoughts = [think(text, cut=cut) for text, cut in zip(texts, cuts, strict=True)]
    return Considered(thoughts, vote(thoughts))


def asked_to_think(messages: Sequence[Message]) -> list[Message]:
    """The conversation with the instruction at the end of its last turn, in the language of that turn."""
    *before, last = messages
    instruction = INSTRUCTION["zh" if identify(last["content"]) == "zh" else "en"]
    asked: Message = {**last, "content": f"{last['content']}\n{instruction}"}
    return [*before, asked]


def shown(found: Considered, config: ThinkingConfig) -> str:
    """The reasoning, then the answer with its share of the votes."""
    chosen = [each for each in found.thoughts if each.answer == found.vote.answer]
    lines: list[str] = []
    for number, thought in enumerate(found.thoughts if config.show else chosen[:1], start=1):
        head = f"[{number}] " if config.show else ""
        lines.append(f"{head}{thought.reasoning or '(no reasoning)'}")
        if config.show:
            lines.append(f"→ {thought.answer or '(no answer)'}")
    lines += ["", found.vote.answer or "(no chain came to an answer)"]
    if len(found.thoughts) > 1:
        lines.append(tally_line(found.vote))
    return visible("\n".join(lines).strip())


def tally_line(vote: Vote) -> str:
    """`(3 of 5 chains, 60%; others: 14 1 time, 1 without an answer)`."""
    others = [f"{form} {n} time{'s' * (n > 1)}" for form, n in vote.tally[1:]]
    none = vote.n_chains - sum(n for _, n in vote.tally)
    others += [f"{none} without an answer"] if none else []
    rest = f"; others: {', '.join(others)}" if others else ""
    return f"({vote.n_votes} of {vote.n_chains} chains, {vote.share:.0%}{rest})"
