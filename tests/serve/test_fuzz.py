"""Requests that a machine makes up from the description of the API, right ones and wrong ones.

A request of the right shape may still be impossible (roles out of turn, an unknown model), which is status
400 or 404; one of the wrong shape must be refused; no request may break the server.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
import schemathesis.engine
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.engine import events
from schemathesis.engine.recorder import ScenarioRecorder
from small_server import Scripted, served
from test_real_server import running

from danlu.recipes.serving import grammar_of
from danlu.serve.api.app import create_app
from danlu.serve.api.limits import Limits
from danlu.tokenizer.chat import ChatFormat

POSSIBLE = ["2xx", "400", "404", "409", "413"]


@pytest.fixture(scope="module")
def address(chat: ChatFormat) -> Iterator[str]:
    app = create_app(
        served(
            chat,
            Scripted([70, 71, chat.tokenizer.im_end_id], endless=True),
            embed=lambda rows: [[0.6, 0.8] for _ in rows],
            score=lambda rows: [float(len(row)) for row in rows],
            grammar=grammar_of(chat),
        ),
        limits=Limits(wall_s=5),
    )
    with running(app) as (address, _):
        yield address


def description_of(address: str, **settings: Any) -> Any:
    """The API as its server describes it; what `settings` does not say of the checks is schemathesis' own.

    Added is what GET /v1/models says, the model's name: nearly all that is made up would end at status 404.
    """
    accepted = {"positive_data_acceptance": {"expected-statuses": POSSIBLE}}
    config = schemathesis.Config.from_dict({"checks": accepted, "base-url": address, **settings})
    tree = requests.get(f"{address}/openapi.json").json()
    for each in tree["components"]["schemas"].values():
        if "model" in each.get("required", ()):
            each["properties"]["model"]["enum"] = ["tiny"]
    return schemathesis.openapi.from_dict(tree, config=config)


def attack(address: str, mode: GenerationMode, n_examples: int) -> int:
    """Made-up requests to every route, each answer held against the description; how many there were."""
    n_sent = 0
    for found in description_of(address).get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and operation.method.upper() != "POST":
            continue  # nothing is asked that could be wrong

        @settings(
            max_examples=n_examples, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            nonlocal n_sent
            n_sent += 1
            case.call_and_validate(session=session)

        with requests.Session() as session:
            send()
    return n_sent


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_a_few_made_up_requests_get_the_answers_that_are_described(address: str, mode: GenerationMode):
    assert attack(address, mode, 4) >= 24


def faults_of(recorder: ScenarioRecorder) -> list[str]:
    """What was wrong with answers, and how to ask for each again."""
    failed = [each for checks in recorder.checks.values() for each in checks if each.failure_info]
    return [
        f"{each.name}: {each.failure_info.failure}\n{each.failure_info.code_sample}"
        for each in failed
        if each.failure_info
    ]


def in_all_phases(address: str, n_examples: int, **generation: Any) -> tuple[Counter[str], list[str]]:
    """What schemathesis' own engine sends, right and wrong, to every method: requests a phase, and faults."""
    wanted = {"max-examples": n_examples, "mode": "all", "database": "none", **generation}
    phases = {phase: {"enabled": True} for phase in ("examples", "coverage", "fuzzing", "stateful")}
    schema = description_of(address, generation=wanted, phases=phases)
    n_sent, faults = Counter[str](), list[str]()
    for event in schemathesis.engine.from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            n_sent[event.phase.value] += len(event.recorder.interactions)
            faults += faults_of(event.recorder)
        elif isinstance(event, events.NonFatalError):
            faults.append(f"{event.label}: {event.value}")
        elif isinstance(event, events.FatalError):
            raise event.exception
    return n_sent, faults


@pytest.mark.slow
def test_every_phase_of_made_up_requests_gets_the_answers_that_are_described(address: str):
    """Boundaries of every field, wrong methods, random requests, and sequences of them."""
    n_sent, faults = in_all_phases(address, 50, deterministic=True)
    assert not faults, "\n\n".join(faults)
    assert n_sent["coverage"] > 1000
    assert n_sent["fuzzing"] > 200
    assert n_sent["stateful"] > 0


@pytest.mark.slow
def test_made_up_requests_get_the_answers_that_are_described_for_as_long_as_is_wished(address: str):
    """Others each time; `DANLU_FUZZ_S=600` goes on for ten minutes."""
    end = time.monotonic() + float(os.environ.get("DANLU_FUZZ_S", "10"))
    while time.monotonic() < end:
        _, faults = in_all_phases(address, 20)
        assert not faults, "\n\n".join(faults)
