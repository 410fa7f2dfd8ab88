"""Keys of the API: who may call, and what. A file holds only their digests.

A key has 256 random bits, so one round of SHA-256 hides it: there is no dictionary to try.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from danlu.config import ConfigError, build, read_toml, toml_value

Scope = Literal["chat", "annotate", "admin"]
PREFIX = "danlu-"
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """What the file of keys says of one."""

    sha256: str
    scopes: tuple[Scope, ...] = ("chat",)

    def __post_init__(self) -> None:
        if not DIGEST.fullmatch(self.sha256):
            raise ConfigError("sha256 must be 64 hexadecimal digits; `danlu key` writes them")
        if not self.scopes:
            raise ConfigError("scopes is empty; a key that may do nothing has no use")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sends a request."""

    name: str
    scopes: frozenset[Scope]


ANYBODY = Caller(
    name="anybody", scopes=frozenset({"chat", "annotate", "admin"})
)  # where no keys are asked for


class KeyRing(Protocol):
    """Whatever knows keys."""

    def caller(self, key: str) -> Caller | None:
        """Whose key it is."""
        ...


class Keys:
    """The keys that a server knows, by name."""

    def __init__(self, entries: Mapping[str, KeyEntry]) -> None:
        self._callers = [
            (bytes.fromhex(entry.sha256), Caller(name=name, scopes=frozenset(entry.scopes)))
            for name, entry in entries.items()
        ]

    def caller(self, key: str) -> Caller | None:
        """Whose key it is. Every digest is compared, so that the time taken tells nothing."""
        digest = _digest(key)
        matches = [caller for known, caller in self._callers if hmac.compare_digest(known, digest)]
        return matches[0] if matches else None


def load_keys(path: Path) -> Keys:
    """The keys in a file: a table a key, with its digest and its scopes."""
    tree = read_toml(path)
    entries: dict[str, KeyEntry] = {}
    for name, table in tree.items():
        if not NAME.fullmatch(name) or not isinstance(table, dict):
            raise ConfigError(f"{path}: {name!r}: expected a table a key, named by letters, digits, _ and -")
        entries[name] = build(KeyEntry, table, prefix=f"{path}: {name}")
    if not entries:
        raise ConfigError(f"{path}: holds no key; `danlu key NAME file={path}` adds one")
    return Keys(entries)


def make_key(path: Path, name: str, scopes: Sequence[Scope]) -> str:
    """Add a new key to the file, which is made if missing, and return it: it stands nowhere else."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"name is {name!r}; it must be 1 to 64 letters, digits, _ and -")
    if path.exists() and name in read_toml(path):
        raise ConfigError(f"{path}: has a key named {name!r} already; remove its table first")
    key = PREFIX + secrets.token_urlsafe(32)
    entry = KeyEntry(sha256=_digest(key).hex(), scopes=tuple(scopes))
    path.touch(mode=0o600)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"[{name}]\nsha256 = {toml_value(entry.sha256)}\nscopes = {toml_value(entry.scopes)}\n\n")
    return key


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", errors="surrogateescape")).digest()
