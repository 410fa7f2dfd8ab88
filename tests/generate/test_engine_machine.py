"""The engine under any sequence of requests, cancellations, swaps of adapters and lack of blocks."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from oracle import OnlyMultiples, random_factors, run, tiny_model, with_updates

from danlu.generate.blocks import SCRAP
from danlu.generate.engine import EngineConfig, PagedEngine
from danlu.generate.kernel import DecoderConfig
from danlu.generate.native import library
from danlu.generate.request import Request, Token
from danlu.generate.sampling import SamplingConfig
from danlu.model.heads import LanguageModel

MODEL = tiny_model(max_seq_len=96)
ADAPTED = {name: with_updates(MODEL, random_factors(MODEL, seed)) for seed, name in enumerate(("a", "b"))}
STEM = [(5 * i * i + i) % 37 for i in range(60)]
KERNEL = DecoderConfig(verify=False) if library() is not None else DecoderConfig(kernel="torch", exact=True)
ALONE: dict[tuple[object, ...], list[Token]] = {}  # what requests give in an engine of their own


def build(wish: tuple[object, ...]) -> Request:
    """The request that a tuple of plain values stands for, so that equal wishes are asked alone only once."""
    n_stem, tail, n_new, temperature, knob, adapter, salt = wish
    knobs = {
        "plain": {},
        "penalties": {"presence_penalty": 0.7, "frequency_penalty": 0.4},
        "filter": {"token_filter": OnlyMultiples(3)},
        "min_p": {"min_p": 0.1, "n_top": 2},
        "prompt": {"prompt_logprobs": True, "n_top": 1},
        "stop": {"stop_ids": frozenset(range(0, 40, 5))},
    }
    sampling = SamplingConfig(max_new_tokens=n_new, temperature=temperature, seed=3)
    prompt = (*STEM[:n_stem], *tail)
    return Request(prompt_ids=prompt, sampling=sampling, adapter=adapter, salt=salt, **knobs[knob])


def alone(wish: tuple[object, ...]) -> list[Token]:
    if wish not in ALONE:
        engine = PagedEngine(MODEL, EngineConfig(max_batch=1, decoder=KERNEL))
        for name, model in ADAPTED.items():
            engine.load_adapter(name, model)
        ALONE[wish] = run(engine, [build(wish)])[0]
    return ALONE[wish]


WISHES = st.tuples(
    st.integers(0, 60),
    st.lists(st.integers(0, 39), min_size=1, max_size=6).map(tuple),
    st.integers(1, 40),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from(["plain", "penalties", "filter", "min_p", "prompt", "stop"]),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from(["", "other"]),
)


class EngineMachine(RuleBasedStateMachine):
    draft: LanguageModel | None = None  # who guesses; None: repetitions in the text

    def __init__(self) -> None:
        super().__init__()
        # Four rows, and blocks for hardly more than one long request: many must give way.
        config = EngineConfig(max_batch=4, cache_tokens=160, prefill_tokens=24, n_draft=3, decoder=KERNEL)
        self.engine = PagedEngine(MODEL, config, draft=self.draft)
        self.wishes: dict[int, tuple[object, ...]] = {}
        self.got: dict[int, list[Token]] = {}

    @rule(wish=WISHES)
    def add(self, wish: tuple[object, ...]) -> None:
        adapter = wish[5]
        if adapter is not None and adapter not in self.engine.adapters:
            with pytest.raises(ValueError, match="there is no adapter"):
                self.engine.add(build(wish))
            return
        request_id = self.engine.add(build(wish))
        self.wishes[request_id], self.got[request_id] = wish, []

    @rule(n=st.integers(1, 12))
    def step(self, n: int) -> None:
        for _ in range(n):
            for event in self.engine.step():
                wish = self.wishes[event.request_id]  # nothing comes of what was cancelled or is done
                if event.token is not None:
                    self.got[event.request_id].append(event.token)
                if event.prompt:
                    assert [token.id for token in event.prompt] == list(build(wish).prompt_ids)
                if event.end_reason is not None:
                    assert self.got.pop(event.request_id) == alone(self.wishes.pop(event.request_id))

    @precondition(lambda self: self.wishes)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.wishes)))
        self.engine.cancel(request_id)
        del self.wishes[request_id], self.got[request_id]

    @rule(name=st.sampled_from(["a", "b"]))
    def swap_adapter(self, name: str) -> None:
        in_use = any(wish[5] == name for wish in self.wishes.values())
        if name not in self.engine.adapters:
            self.engine.load_adapter(name, ADAPTED[name])
        elif in_use:
            with pytest.raises(ValueError, match="in use"):
                self.engine.unload_adapter(name)
        else:
            self.engine.unload_adapter(name)

    @rule()
    def refresh(self) -> None:
        self.engine.refresh()

    @invariant()
    def every_block_has_the_holders_that_its_streams_say(self) -> None:
        scheduler, blocks = self.engine.scheduler, self.engine.scheduler.blocks
        held = [block for stream in scheduler.running for block in stream.blocks]
        assert SCRAP not in held
        assert blocks.n_free == blocks.n_blocks - 1 - len(set(held))
        for stream in scheduler.running:
            assert scheduler.tables[stream.row, : len(stream.blocks)].tolist() == stream.blocks
            assert stream.n_read <= len(stream.blocks) * blocks.block_size
        for stream in scheduler.waiting:
            assert not stream.blocks
        assert len(scheduler.running) + len(scheduler.waiting) == self.engine.n_unfinished == len(self.wishes)

    def teardown(self) -> None:
        for _ in range(10_000):
            if not self.engine.n_unfinished:
                break
            self.step(1)
        assert not self.wishes
        blocks = self.engine.scheduler.blocks
        assert blocks.n_free == blocks.n_blocks - 1
        blocks.forget()
        assert len({blocks.take() for _ in range(blocks.n_free)}) == blocks.n_blocks - 1


class DraftedMachine(EngineMachine):
    """The same with a small model that guesses."""

    draft = tiny_model(max_seq_len=96, n_layers=1)


MACHINES = [EngineMachine, DraftedMachine]


def check(machine: type[EngineMachine], max_examples: int, n_steps: int) -> None:
    wanted = settings(max_examples=max_examples, stateful_step_count=n_steps, deadline=None)
    run_state_machine_as_test(machine, settings=wanted)


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_that_callers_do_changes_a_token_or_loses_a_block(machine: type[EngineMachine]):
    check(machine, max_examples=8, n_steps=12)


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_that_callers_do_for_long_changes_a_token_or_loses_a_block(machine: type[EngineMachine]):
    """`DANLU_FUZZ_S=600` goes on for ten minutes with each."""
    end = time.monotonic() + float(os.environ.get("DANLU_FUZZ_S", "0"))
    check(machine, max_examples=300, n_steps=40)
    while time.monotonic() < end:
        check(machine, max_examples=100, n_steps=60)
