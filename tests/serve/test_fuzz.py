"""Requests that a machine makes up from the description of the API, right ones and wrong ones.

A request of the right shape may still be impossible (roles out of turn, an unknown model), which is status
400 or 404; one of the wrong shape must be refused; no request may break the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from small_server import Scripted, served
from test_real_server import running

from danlu.serve.api.app import create_app
from danlu.serve.api.limits import Limits
from danlu.tokenizer.chat import ChatFormat

POSSIBLE = ["2xx", "400", "404", "413"]


@pytest.fixture(scope="module")
def address(chat: ChatFormat) -> Iterator[str]:
    app = create_app(
        served(
            chat,
            Scripted([70, 71, chat.tokenizer.im_end_id], endless=True),
            embed=lambda rows: [[0.6, 0.8] for _ in rows],
            score=lambda rows: [float(len(row)) for row in rows],
        ),
        limits=Limits(wall_s=5),
    )
    with running(app) as (address, _):
        yield address


def attack(address: str, mode: GenerationMode, n_examples: int) -> int:
    """Made-up requests to every route, each answer held against the description; how many there were."""
    config = schemathesis.Config.from_dict(
        {"checks": {"positive_data_acceptance": {"expected-statuses": POSSIBLE}}}
    )
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json", config=config)
    n_sent = 0

    for found in schema.get_all_operations():
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


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_many_made_up_requests_get_the_answers_that_are_described(address: str, mode: GenerationMode):
    assert attack(address, mode, 100) >= 500
