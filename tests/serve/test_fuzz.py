"""Requests that a machine makes up from the description of the API, right ones and wrong ones.

A request of the right shape may still be impossible (roles out of turn, an unknown model), which is status
400 or 404; one of the wrong shape must be refused; no request may break the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from small_server import Scripted, served
from test_real_server import running

from danlu.serve.api.app import create_app
from danlu.serve.api.limits import Limits
from danlu.tokenizer.chat import ChatFormat

POSSIBLE = ["2xx", "400", "404", "413"]


def described(address: str, n_examples: int, *, coverage: bool) -> Any:
    config = schemathesis.Config.from_dict(
        {
            "generation": {"max-examples": n_examples, "deterministic": True, "database": "none"},
            "checks": {"positive_data_acceptance": {"expected-statuses": POSSIBLE}},
            "phases": {"coverage": {"enabled": coverage}},
        }
    )
    return schemathesis.openapi.from_url(f"{address}/openapi.json", config=config)


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


@pytest.fixture(scope="module")
def few(address: str) -> Any:
    return described(address, 6, coverage=False)


@pytest.fixture(scope="module")
def many(address: str) -> Any:
    return described(address, 300, coverage=True)


@schemathesis.pytest.from_fixture("few").parametrize()
def test_a_few_made_up_requests_get_the_answers_that_are_described(case: Any):
    case.call_and_validate()


@pytest.mark.slow
@schemathesis.pytest.from_fixture("many").parametrize()
def test_many_made_up_requests_get_the_answers_that_are_described(case: Any):
    case.call_and_validate()
