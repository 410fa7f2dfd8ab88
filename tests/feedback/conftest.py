"""Stores in both databases: a SQLite file, and a database of PostgreSQL where a server is reachable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from people import Clock

from danlu.feedback.database import database_url
from danlu.feedback.queue import QueueConfig
from danlu.feedback.store import Store

POSTGRES = os.environ.get("DANLU_TEST_POSTGRES", "")  # URL of a server on which databases may be made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store of its own may be made."""
    if request.param == "sqlite":
        yield str(tmp_path / "feedback.db")
    else:
        yield from postgres_database()


def postgres_database() -> Iterator[str]:
    if not POSTGRES:
        pytest.skip("DANLU_TEST_POSTGRES names no PostgreSQL server")
    url = database_url(POSTGRES)
    try:
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    except ModuleNotFoundError as error:
        pytest.skip(f"the driver {error.name} is not installed")
    name = f"danlu_{uuid4().hex}"
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield url.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture
def opened(place: str, clock: Clock) -> Iterator[Callable[..., Store]]:
    """Opens the store, as often as wanted; all are closed at the end."""
    stores: list[Store] = []

    def open_store(config: QueueConfig | None = None, **more: Any) -> Store:
        stores.append(Store.open(place, config, clock=clock, **more))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Callable[..., Store]) -> Store:
    return opened()
