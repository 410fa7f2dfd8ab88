"""Data sets below the folders that the studio was started with, and nothing outside them.

Files are by anybody and of any size: a place in one is found by an index of its lines, a line has a limit,
and what is no record is shown as what it is.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO, Literal, cast

from danlu.data.records import DataError
from danlu.data.shards import Shards, open_shards
from danlu.feedback.errors import FeedbackError
from danlu.serve.studio.run_records import METRICS, read_tree
from danlu.tokenizer.bpe import Tokenizer, TokenizerError
from danlu.tokenizer.interface import TextTokenizer

Kind = Literal["documents", "dropped", "chats", "prompts", "comparisons", "ratings", "shards", "other"]
SUFFIXES = (".jsonl", ".ndjson")
PASSED_OVER = frozenset({"checkpoints", "model", "adapter", "__pycache__", "node_modules"})
SHARD_FILES = ("tokens.bin", "documents.npy", "token_bytes.npy", "index.json")
NO_DATA = frozenset({METRICS, "aside.jsonl"})
MOST_FOLDERS, MOST_SETS = 20_000, 2000
MOST_BYTES = 1 << 30  # of a file that are looked at
COUNTED_BYTES = 64 << 20  # of all files together whose lines the list counts; the rest when they are opened
MOST_LINE = 1 << 20  # bytes of a record
MOST_TOKENS = 4000  # of a document in a shard
STRIDE = 64  # lines between two places that an index remembers
BLOCK = 1 << 20
SEARCH_S = 3.0  # after which a search stops and says how far it came
THUMBS = ("thumb", "rating", "label", "grade")


class DataSetError(FeedbackError):
    """A data set that is not there, or cannot be read; the message says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A file of records, or a folder of token shards."""

    name: str  # the folder that the studio was started with, and the path below it
    path: Path
    kind: Kind
    n_bytes: int
    changed_at: int  # nanoseconds since 1970
    n_records: int | None = None  # None: not counted yet

    @property
    def state(self) -> tuple[Path, int, int]:
        """What changes when the data does."""
        return self.path, self.n_bytes, self.changed_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of a data set, or what stands in the place of one."""

    number: int  # from 1
    tree: Mapping[str, Any] = field(default_factory=dict[str, Any])
    raw: str = ""  # of a line that is no JSON object, its beginning
    n_bytes: int = 0
    ids: Sequence[int] = ()  # of a document in a shard, as many as are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search has found."""

    records: Sequence[Record]
    n_read: int  # records that it has looked at
    after: int | None  # where it would go on; None: it came to the end


class Lines:
    """Where the lines of a file begin; blank ones are none.

    Args:
        path: the file.
        n_bytes: so much of it is looked at.
    """

    def __init__(self, path: Path, n_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self.starts, self.n = array("Q"), 0
        with path.open("rb") as file:
            for at, line, _ in _lines(file, n_bytes):
                if line:
                    if self.n % STRIDE == 0:
                        self.starts.append(at)
                    self.n += 1
            self.whole = file.tell() >= os.fstat(file.fileno()).st_size

    def read(self, first: int) -> Iterator[tuple[int, bytes, int]]:
        """Lines from the one numbered `first`, counted from 0: number, at most so many bytes, length."""
        if first >= self.n:
            return
        number = first - first % STRIDE
        with self.path.open("rb") as file:
            file.seek(self.starts[first // STRIDE])
            for _, line, length in _lines(file, MOST_BYTES):
                if not line:
                    continue
                if number >= first:
                    yield number, line, length
                number += 1
                if number >= self.n:
                    return


def _lines(file: BinaryIO, n_bytes: int) -> Iterator[tuple[int, bytes, int]]:
    """Where each line begins, the line without blanks around it, cut at the limit, and its whole length."""
    at = file.tell()
    end = at + n_bytes
    while at < end and (line := file.readline(MOST_LINE + 1)):
        length = len(line)
        rest = line
        while not rest.endswith(b"\n") and (rest := file.readline(BLOCK)):
            length += len(rest)
        yield at, line.strip(), length
        at += length


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The data sets below some folders.

    Args:
        folders: those that may be read, by the name that they are shown under.
    """

    folders: Mapping[str, Path]

    def sets(self) -> list[DataSet]:
        """Every data set, by name; of the larger files the records are not counted yet."""
        found: dict[Path, DataSet] = {}
        left = COUNTED_BYTES
        for name, root in self.folders.items():
            for path in islice(_places(root), MOST_SETS):
                each = self._described(name, root, path)
                if each is None or each.path in found or len(found) >= MOST_SETS:
                    continue
                if each.n_records is None and each.n_bytes <= left:
                    left -= each.n_bytes
                    each = counted(each)
                found[each.path] = each
        return sorted(found.values(), key=lambda each: each.name)

    def find(self, name: str) -> DataSet:
        """The data set of a name that `sets` gave; names that lead elsewhere are of none."""
        top, _, below = name.partition("/")
        root = self.folders.get(top)
        found = None
        if root is not None and below:
            try:
                found = self._described(top, root, root / below)
            except ValueError:  # no name of a file
                found = None
        if found is None or found.name != name:
            raise DataSetError(
                f"no data set here is called {name[:200]!r}; it may have been moved or removed"
            )
        return counted(found)

    def account(self, data_set: DataSet) -> Mapping[str, Any]:
        """What `danlu data` did when it made this set, or an empty tree."""
        path = data_set.path.parent / "account.json"
        return read_tree(path) if self._holds(path) else {}

    def beside(self, data_set: DataSet, file: str) -> str:
        """The name of another data set in the same folder; empty if there is none."""
        name = f"{data_set.name.rpartition('/')[0]}/{file}"
        try:
            return self.find(name).name
        except DataSetError:
            return ""

    def tokenizer(self, fingerprint: str) -> Tokenizer | None:
        """The tokenizer that made a shard, if one of these folders has it."""
        for root in self.folders.values():
            for place, names, files in islice(os.walk(root), MOST_FOLDERS):
                names[:] = sorted(each for each in names if not each.startswith((".", "step-")))
                path = Path(place) / "tokenizer.json"
                if "tokenizer.json" in files and self._holds(path):
                    loaded = _tokenizer(path.parent, path.stat().st_mtime_ns)
                    if loaded is not None and loaded.fingerprint == fingerprint:
                        return loaded
        return None

    def _holds(self, path: Path) -> bool:
        """Whether a path leads into one of the folders, links followed."""
        try:
            place = path.resolve()
        except (OSError, ValueError, RuntimeError):  # no name of a file, or a circle of links
            return False
        return any(place.is_relative_to(root.resolve()) for root in self.folders.values())

    def _described(self, name: str, root: Path, path: Path) -> DataSet | None:
        """The data set at a path, if there is one and it lies in the folder."""
        below = path.relative_to(root)
        if ".." in below.parts or not self._holds(path):
            return None
        try:
            place = path.resolve()
            if place.is_dir():
                if not all(self._holds(place / each) for each in SHARD_FILES):
                    return None
                return _shard_set(f"{name}/{below}", place)
            if path.suffix not in SUFFIXES or path.name in NO_DATA or not place.is_file():
                return None
            status = place.stat()
            kind = _kind_of(place, status.st_size, status.st_mtime_ns)
        except (OSError, ValueError, RuntimeError):
            return None
        return DataSet(
            name=f"{name}/{below}",
            path=place,
            kind=kind,
            n_bytes=status.st_size,
            changed_at=status.st_mtime_ns,
        )


def _places(root: Path) -> Iterator[Path]:
    """Files and folders that may be data sets."""
    for place, names, files in islice(os.walk(root), MOST_FOLDERS):
        names[:] = sorted(
            each for each in names if each not in PASSED_OVER and not each.startswith((".", "step-"))
        )
        if "tokens.bin" in files:
            yield Path(place)
        yield from (Path(place) / each for each in sorted(files) if each.endswith(SUFFIXES))


def _shard_set(name: str, path: Path) -> DataSet | None:
    index = read_tree(path / "index.json")
    n_records = index.get("n_documents")
    if not (path / "tokens.bin").is_file() or type(n_records) is not int:
        return None
    status = (path / "tokens.bin").stat()
    return DataSet(
        name=name,
        path=path,
        kind="shards",
        n_bytes=status.st_size,
        changed_at=(path / "index.json").stat().st_mtime_ns,
        n_records=n_records,
    )


def counted(data_set: DataSet) -> DataSet:
    """The same with the number of its records."""
    if data_set.n_records is not None:
        return data_set
    n = lines_of(data_set).n
    return DataSet(
        name=data_set.name,
        path=data_set.path,
        kind=data_set.kind,
        n_bytes=data_set.n_bytes,
        changed_at=data_set.changed_at,
        n_records=n,
    )


def lines_of(data_set: DataSet) -> Lines:
    """Where the records of a file lie; remembered for as long as it stays the same."""
    try:
        return _index(*data_set.state)
    except OSError as error:
        raise DataSetError(f"{data_set.name} cannot be read: {error.strerror}") from error


@lru_cache(maxsize=256)
def _index(path: Path, n_bytes: int, changed_at: int) -> Lines:
    return Lines(path)


@lru_cache(maxsize=4096)
def _kind_of(path: Path, n_bytes: int, changed_at: int) -> Kind:
    """What the first record of a file is."""
    with path.open("rb") as file:
        first = next((line for _, line, _ in _lines(file, MOST_LINE) if line), b"")
    return kind_of(_tree(first) or {})


def kind_of(tree: Mapping[str, Any]) -> Kind:
    """What a record is, told by its fields."""
    if {"rule", "text"} <= tree.keys():
        return "dropped"
    if {"completions", "ranks"} <= tree.keys() or {"chosen", "rejected"} <= tree.keys():
        return "comparisons"
    has_turns = bool({"messages", "conversations"} & tree.keys())
    if (has_turns or {"prompt", "completion"} <= tree.keys()) and any(each in tree for each in THUMBS):
        return "ratings"
    if has_turns:
        turns = tree.get("messages")
        last: object = cast(list[object], turns)[-1] if isinstance(turns, list) and turns else None
        asks = isinstance(last, dict) and cast(dict[str, object], last).get("role") == "user"
        return "prompts" if asks else "chats"
    if {"instruction", "output"} <= tree.keys() or {"prompt", "completion"} <= tree.keys():
        return "chats"
    if "prompt" in tree:
        return "prompts"
    return "documents" if isinstance(tree.get("text"), str) else "other"


def _tree(line: bytes) -> Mapping[str, Any] | None:
    """The JSON object of a line, if it is one."""
    try:
        tree = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast(Mapping[str, Any], tree) if isinstance(tree, dict) else None


def read(data_set: DataSet, first: int, n: int) -> list[Record]:
    """So many records from the one numbered `first`, counted from 0."""
    return list(islice(records(data_set, max(first, 0)), n))


def records(data_set: DataSet, first: int = 0, step: int = 1) -> Iterator[Record]:
    """The records of a data set in their order, every `step`-th from the one numbered `first`."""
    if data_set.kind == "shards":
        yield from _documents(data_set, first, step)
        return
    try:
        for number, line, length in lines_of(data_set).read(first):
            if (number - first) % step:
                continue
            tree = None if length > MOST_LINE else _tree(line)
            raw = line[:4000].decode("utf-8", "replace") if tree is None else ""
            yield Record(number=number + 1, tree=tree or {}, raw=raw, n_bytes=length)
    except OSError as error:
        raise DataSetError(f"{data_set.name} cannot be read: {error.strerror}") from error


def open_shard(data_set: DataSet) -> Shards:
    """The shards of a data set, as far as they can be read."""
    try:
        return open_shards(data_set.path, verify=False)
    except DataError as error:
        raise DataSetError(str(error).replace(str(data_set.path), data_set.name)) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataSetError(f"{data_set.name}: its index is broken; tokenize the corpus again") from error


def _documents(data_set: DataSet, first: int, step: int) -> Iterator[Record]:
    shards = open_shard(data_set)
    for at in range(first, len(shards), step):
        begin, end = int(shards.starts[at]), int(shards.starts[at + 1])
        ids: list[int] = shards.tokens[begin : min(end, begin + MOST_TOKENS)].tolist()
        known = 0 <= shards.langs[at] < len(shards.languages)
        tree = {"lang": shards.languages[int(shards.langs[at])] if known else "", "n_tokens": end - begin}
        yield Record(number=at + 1, tree=tree, ids=ids)


@lru_cache(maxsize=64)
def _tokenizer(directory: Path, changed_at: int) -> Tokenizer | None:
    try:
        return Tokenizer.load(directory)
    except (TokenizerError, OSError, ValueError):
        return None


def search(
    data_set: DataSet, wanted: str, rule: str, tokenizer: TextTokenizer | None, first: int, n: int
) -> Found:
    """The next records that hold a text, for a few seconds at most.

    Args:
        data_set: where to look.
        wanted: the text, in whatever case; empty is in every record.
        rule: only what cleaning dropped by this rule; empty is by whichever.
        tokenizer: what spells the ids of shards.
        first: where to begin, counted from 0.
        n: at most so many are found.
    """
    end, needle = monotonic() + SEARCH_S, wanted.casefold()
    found: list[Record] = []
    n_read = 0
    for record in records(data_set, first):
        if len(found) == n or monotonic() > end:
            return Found(records=found, n_read=n_read, after=first + n_read)
        n_read += 1
        if (not rule or record.tree.get("rule") == rule) and needle in text_of(record, tokenizer).casefold():
            found.append(record)
    return Found(records=found, n_read=n_read, after=None)


def text_of(record: Record, tokenizer: TextTokenizer | None = None) -> str:
    """Everything that a record says."""
    if record.ids:
        return spelled(record.ids, tokenizer)
    return record.raw or "\n".join(strings_in(record.tree))


def spelled(ids: Sequence[int], tokenizer: TextTokenizer | None) -> str:
    """Ids as text, those that the tokenizer does not know as numbers; without one, all as numbers."""
    if tokenizer is None or max(ids, default=0) >= tokenizer.vocab_size:
        return " ".join(map(str, ids))
    return tokenizer.decode(ids, show_control=True)


def strings_in(tree: Any, deep: int = 12) -> Iterator[str]:
    """Every string in a tree of JSON, but for the names of fields."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict | list) and deep:
        inner = cast(Any, tree).values() if isinstance(tree, dict) else cast(list[Any], tree)
        for each in inner:
            yield from strings_in(each, deep - 1)
    elif tree is not None and not isinstance(tree, dict | list):
        yield str(tree)
