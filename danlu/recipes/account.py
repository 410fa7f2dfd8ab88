"""`danlu account NAME`: a new account of the studio, or a change of one that is there."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from getpass import getpass

from danlu.feedback.accounts import Accounts, Role
from danlu.feedback.store import Store

SUMMARY = "give somebody an account of the studio, or change it: danlu account NAME role=annotator"
POSITIONAL = ("name",)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountConfig:
    name: str
    role: Role | None = None  # a new account is an annotator's
    db: str = "feedback.db"  # SQLite file, or postgresql://user@host/name
    active: bool = True  # false closes the account; what was judged stays
    quota: int | None = None  # judgements a day; 0 is what the queue allows everybody


def run(config: AccountConfig) -> None:
    with Store.open(config.db) as store:
        accounts = Accounts(store)
        known = any(person.name == config.name for person in accounts.people())
        if known:
            person = accounts.change(
                config.name,
                role=config.role,
                quota=config.quota,
                active=config.active,
                password=_password() or None,
            )
        else:
            person = accounts.add(
                config.name, config.role or "annotator", _password(), quota=config.quota or 0
            )
    print(
        f"{'changed' if known else 'made'}: {person.name}, {person.role}" + ", closed" * (not person.active)
    )


def _password() -> str:
    """From the terminal, or a line of the standard input; empty leaves it as it is."""
    if sys.stdin.isatty():
        return getpass("password (empty: none, or as it was): ")
    return sys.stdin.readline().rstrip("\n")
