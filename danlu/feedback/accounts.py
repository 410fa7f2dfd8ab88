"""Who may do what: accounts with roles, passwords, and keys for programs.

None of this enters the log or an export. Passwords are kept as scrypt hashes, keys as SHA-256: a key is too
random to be guessed from its digest.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from danlu.feedback.body import checked_name
from danlu.feedback.errors import FeedbackError
from danlu.feedback.schema import KEYS, PEOPLE
from danlu.feedback.store import Store

Role = Literal["admin", "trainer", "annotator", "guest"]
Scope = Literal["chat", "annotate", "train", "admin"]

MAY: Mapping[Role, frozenset[Scope]] = {
    "admin": frozenset(get_args(Scope)),
    "trainer": frozenset({"chat", "annotate", "train"}),
    "annotator": frozenset({"chat", "annotate"}),
    "guest": frozenset({"chat"}),
}
# OWASP's Password Storage Cheat Sheet, 2024: the setting that takes 16 MiB.
COST, BLOCK, PARALLEL = 1 << 14, 8, 5
SCRYPT_BYTES = 64 << 20  # most memory that a stored setting may ask for
LEAST_PASSWORD = 8  # characters
KEY_PREFIX = "danlu-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """An account."""

    name: str
    role: Role
    quota: int = 0  # judgements a day; 0 = what the queue allows everybody
    active: bool = True

    @property
    def scopes(self) -> frozenset[Scope]:
        return MAY[self.role] if self.active else frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What is known of a key; the key itself is not."""

    id: str
    person: str
    label: str
    scopes: frozenset[Scope]
    expires_at: str = ""  # ISO 8601; empty = never
    revoked_at: str = ""


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts and keys of a store."""

    store: Store

    def add(self, name: str, role: Role, password: str = "", *, quota: int = 0) -> Person:
        """A new account; without a password one signs in by key alone."""
        person = Person(name=checked_name(name), role=_checked_role(role), quota=_checked_quota(quota))
        if not name.strip():
            raise FeedbackError("the name is empty; an account needs one")
        hashed = hash_password(password) if password else ""
        with self.store.database.write() as connection:
            if _row(connection, name) is not None:
                raise FeedbackError(f"{name!r} has an account already; choose another name")
            connection.execute(
                PEOPLE.insert().values(
                    name=name, role=role, password=hashed, quota=quota, active=True, created_at=self._now()
                )
            )
        return person

    def change(
        self,
        name: str,
        *,
        role: Role | None = None,
        password: str | None = None,
        quota: int | None = None,
        active: bool | None = None,
    ) -> Person:
        """Change what is given. The last active admin stays one."""
        values: dict[str, Any] = {
            "role": None if role is None else _checked_role(role),
            "password": None if password is None else hash_password(password),
            "quota": None if quota is None else _checked_quota(quota),
            "active": active,
        }
        given = {key: value for key, value in values.items() if value is not None}
        with self.store.database.write() as connection:
            before = _person(connection, name)
            if given:
                connection.execute(PEOPLE.update().where(PEOPLE.c.name == name).values(given))
            if "admin" in before.scopes and not _admins(connection):
                raise FeedbackError(f"{name!r} is the last active admin; make somebody else one first")
            return _person(connection, name)

    def people(self) -> list[Person]:
        """Every account, by name."""
        with self.store.database.read() as connection:
            return [_as_person(row) for row in connection.execute(sa.select(PEOPLE).order_by(PEOPLE.c.name))]

    def sign_in(self, name: str, password: str) -> Person | None:
        """The account if the password is right and it is active; it takes as long if there is none."""
        with self.store.database.read() as connection:
            row = _row(connection, name)
        right = is_password(password, row.password if row is not None and row.password else NOBODY)
        return _as_person(row) if row is not None and row.password and right and row.active else None

    def new_key(
        self, person: str, label: str, scopes: Iterable[Scope], *, days: float | None = None
    ) -> tuple[str, Key]:
        """A key and what is known of it; the key is shown here and never again.

        Args:
            scopes: what it opens, of what the person's role does.
            days: how long it is good for; None is for ever.
        """
        wanted = frozenset(scopes)
        secret = KEY_PREFIX + secrets.token_urlsafe(32)
        until = "" if days is None else _written(self.store.clock() + timedelta(days=days))
        key = Key(id=uuid4().hex, person=person, label=checked_name(label), scopes=wanted, expires_at=until)
        with self.store.database.write() as connection:
            owner = _person(connection, person)
            if not wanted or not wanted <= owner.scopes:
                raise FeedbackError(
                    f"scopes are {sorted(wanted)}; {person!r} ({owner.role}) may give some of "
                    f"{sorted(owner.scopes)}"
                )
            connection.execute(
                KEYS.insert().values(
                    id=key.id,
                    digest=_digest(secret),
                    person=person,
                    label=label,
                    scopes=" ".join(sorted(wanted)),
                    created_at=self._now(),
                    expires_at=until,
                    revoked_at="",
                )
            )
        return secret, key

    def who(self, secret: str) -> tuple[Person, frozenset[Scope]] | None:
        """Whose key this is and what it opens now; None if it is unknown, over or revoked.

        A key opens no more than the role of its owner does today.
        """
        with self.store.database.read() as connection:
            row = connection.execute(sa.select(KEYS).where(KEYS.c.digest == _digest(secret))).first()
            if row is None or row.revoked_at or (row.expires_at and row.expires_at <= self._now()):
                return None
            person = _person(connection, row.person)
        scopes = person.scopes & frozenset(row.scopes.split())
        return (person, frozenset(scopes)) if scopes else None

    def keys(self, person: str) -> list[Key]:
        """Somebody's keys, the oldest first."""
        with self.store.database.read() as connection:
            rows = connection.execute(
                sa.select(KEYS).where(KEYS.c.person == person).order_by(KEYS.c.created_at)
            )
            return [_as_key(row) for row in rows]

    def revoke(self, key_id: str) -> None:
        """A key opens nothing any more."""
        with self.store.database.write() as connection:
            asked = KEYS.update().where(KEYS.c.id == key_id, KEYS.c.revoked_at == "")
            if not connection.execute(asked.values(revoked_at=self._now())).rowcount:
                raise FeedbackError(f"no key {key_id[:60]!r} is in force")

    def forget(self, secret: str) -> None:
        """The key with this secret opens nothing any more; one that is unknown never did."""
        with self.store.database.write() as connection:
            asked = KEYS.update().where(KEYS.c.digest == _digest(secret), KEYS.c.revoked_at == "")
            connection.execute(asked.values(revoked_at=self._now()))

    def _now(self) -> str:
        return _written(self.store.clock())


def hash_password(password: str) -> str:
    """`scrypt$n$r$p$salt$hash`; a password that is too short is refused."""
    if len(password) < LEAST_PASSWORD:
        raise FeedbackError(
            f"the password has {len(password)} characters; at least {LEAST_PASSWORD} are needed"
        )
    salt = secrets.token_bytes(16)
    found = _scrypt(password, salt, COST, BLOCK, PARALLEL)
    return f"scrypt${COST}${BLOCK}${PARALLEL}${b64encode(salt).decode()}${b64encode(found).decode()}"


def is_password(password: str, stored: str) -> bool:
    """Whether a password is the one that was hashed, compared in constant time."""
    _, n, r, p, salt, expected = stored.split("$")
    found = _scrypt(password, b64decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, b64decode(expected))


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    said = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(said, salt=salt, n=n, r=r, p=p, maxmem=SCRYPT_BYTES, dklen=32)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _row(connection: Connection, name: str) -> Any:
    return connection.execute(sa.select(PEOPLE).where(PEOPLE.c.name == checked_name(name))).first()


def _person(connection: Connection, name: str) -> Person:
    row = _row(connection, name)
    if row is None:
        raise FeedbackError(f"{name!r} has no account")
    return _as_person(row)


def _as_person(row: Any) -> Person:
    return Person(name=row.name, role=row.role, quota=row.quota, active=row.active)


def _as_key(row: Any) -> Key:
    return Key(
        id=row.id,
        person=row.person,
        label=row.label,
        scopes=frozenset(row.scopes.split()),
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def _admins(connection: Connection) -> int:
    asked = sa.select(sa.func.count()).select_from(PEOPLE).where(PEOPLE.c.role == "admin", PEOPLE.c.active)
    return connection.scalar(asked) or 0


def _checked_role(role: Role) -> Role:
    if role not in MAY:
        raise FeedbackError(f"the role is {role!r}; it must be one of {', '.join(MAY)}")
    return role


def _checked_quota(quota: int) -> int:
    if quota < 0:
        raise FeedbackError(f"quota is {quota}; it must be at least 0, which is no quota of one's own")
    return quota


# Checked where nobody of that name is, so that the answer takes as long: no password has this hash.
NOBODY = f"scrypt${COST}${BLOCK}${PARALLEL}${b64encode(bytes(16)).decode()}${b64encode(bytes(32)).decode()}"
