"""The text of a world on disk: all kinds of documents in both languages, most clean, the rest known dirt."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from random import Random

from danlu.config import ConfigError
from danlu.world.cast import Cast
from danlu.world.dialogues import dialogue
from danlu.world.dirt import SHARES, Dirt, Record, duplicate, spoil
from danlu.world.encyclopaedia import factual_documents
from danlu.world.exercises import exercise
from danlu.world.howto import howto
from danlu.world.letters import letter
from danlu.world.names import LANGS
from danlu.world.pages import page
from danlu.world.parallel import parallel
from danlu.world.passages import passage
from danlu.world.reviews import review
from danlu.world.stories import story
from danlu.world.sums import sums
from danlu.world.truth import World
from danlu.world.wording import Lang, pick

MAX_FILE_BYTES = 64 * 10**6


def write_corpus(world: World, folder: Path, size_bytes: int, seed: int) -> list[Path]:
    """Write `size_bytes` of text (UTF-8, without the JSON around it) as JSON lines; the same every time.

    At least four files, none larger than about 64 MB; documents of all kinds and both languages are mixed.
    """
    if size_bytes < 1000:
        raise ConfigError(f"size_bytes is {size_bytes}; a corpus has at least 1000 bytes")
    folder.mkdir(parents=True, exist_ok=True)
    n_files = max(4, -(-size_bytes * 3 // 2 // MAX_FILE_BYTES))
    paths = [folder / f"part-{i:04}.jsonl" for i in range(n_files)]
    written = 0
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("w", encoding="utf-8", newline="\n")) for path in paths]
        for i, record in enumerate(documents(world, seed)):
            encode = _ESCAPED if record["dirt"] == "mojibake" else _READABLE
            files[i % n_files].write(encode(record) + "\n")
            written += len(record["text"].encode())
            if written >= size_bytes:
                break
    return paths


def documents(world: World, seed: int) -> Iterator[Record]:
    """Documents without end; the language with fewer bytes so far comes next, so halves stay equal."""
    sources = {lang: _Source(world, lang, seed) for lang in LANGS}
    told = dict.fromkeys(LANGS, 0)
    while True:
        lang = min(LANGS, key=told.__getitem__)
        record = sources[lang].draw()
        told[lang] += len(record["text"].encode())
        yield record


def preview(world: World, lang: Lang, n: int, seed: int = 0) -> list[Record]:
    """The first `n` clean documents in one language, to read."""
    source = _Source(world, lang, seed)
    return [source.clean() for _ in range(n)]


class _Source:
    """Documents in one language, with what has to be remembered between them."""

    def __init__(self, world: World, lang: Lang, seed: int) -> None:
        self.cast = Cast(world, lang)
        self.rng = Random(f"{seed}/corpus/{lang}")
        self._facts = factual_documents(world, lang, self.rng)
        self._shares = SHARE_OF_BYTES if len(world.people) < LARGE else SHARE_IN_LARGE_WORLDS
        self._kinds = tuple(self._shares)
        self._n_bytes = dict.fromkeys(self._kinds, 1000)
        self._n_documents = dict.fromkeys(self._kinds, 3)
        self._seen: set[bytes] = set()
        self._recent: list[Record] = []
        self._n_dirty = 0
        self._n_drawn = 0
        self._cum_weights: list[float] = []

    def draw(self) -> Record:
        """A clean document, or for 15 in 100 a dirty one."""
        if self.rng.random() >= DIRTY or len(self._recent) < RECENT // 8:
            return self.clean()
        dirt = pick(self.rng, _DIRT_DRAW)
        self._n_dirty += 1
        name = f"{self.cast.lang}-dirt-{self._n_dirty}"
        if dirt in ("exact_duplicate", "near_duplicate"):
            return {**duplicate(self.rng, pick(self.rng, self._recent), dirt), "id": name}
        return {**spoil(self.rng, self._text(), dirt), "id": name}

    def clean(self) -> Record:
        """A document that says nothing but the truth, remembered so that it may be repeated."""
        record = self._text()
        if len(record["text"]) >= MIN_REPEATED[self.cast.lang]:
            if len(self._recent) < RECENT:
                self._recent.append(record)
            else:
                self._recent[int(self.rng.random() * RECENT)] = record
        return record

    def _text(self) -> Record:
        """A document like no other so far; the kind is drawn so that kinds keep their share of the bytes."""
        while True:
            kind = self._kind()
            text = next(self._facts)[1] if kind == "facts" else WRITERS[kind](self.cast, self.rng)
            if self._is_new(text):
                break
        self._n_documents[kind] += 1
        self._n_bytes[kind] += len(text.encode())
        name = f"{self.cast.lang}-{kind}-{self._n_documents[kind] - 3}"
        return {"text": text, "lang": self.cast.lang, "kind": kind, "id": name, "dirt": None, "of": None}

    def _kind(self) -> str:
        """A kind with a probability of its share over the mean size of its documents, as of late."""
        self._n_drawn += 1
        if self._n_drawn % 64 == 1:
            sizes, counts = self._n_bytes, self._n_documents
            weights = (share * counts[kind] / sizes[kind] for kind, share in self._shares.items())
            self._cum_weights = list(accumulate(weights))
        return self.rng.choices(self._kinds, cum_weights=self._cum_weights)[0]

    def _is_new(self, text: str) -> bool:
        """Whether a text short enough to come out twice by chance has come out before."""
        if len(text) > MAX_CHANCE_REPEAT:
            return True
        digest = blake2b(text.encode(), digest_size=8).digest()
        if digest in self._seen:
            return False
        if len(self._seen) == MAX_REMEMBERED:
            self._seen.clear()
        self._seen.add(digest)
        return True


DIRTY = 0.15  # of the documents
LARGE = 100  # people
RECENT = 256  # documents kept for repeating
MIN_REPEATED: Mapping[Lang, int] = {"en": 160, "zh": 60}  # characters; shorter ones are alike by chance
MAX_CHANCE_REPEAT = 240
MAX_REMEMBERED = 500_000  # about 50 MB; two like texts further apart than that do no harm
_READABLE = json.JSONEncoder(ensure_ascii=False).encode
# Mojibake is full of control characters, at some of which a reader might break the line.
_ESCAPED = json.JSONEncoder(ensure_ascii=True).encode
_DIRT_DRAW: tuple[Dirt, ...] = tuple(dirt for dirt, share in SHARES.items() for _ in range(share))
WRITERS: Mapping[str, Callable[[Cast, Random], str]] = {
    "story": story,
    "letter": letter,
    "dialogue": dialogue,
    "howto": howto,
    "review": review,
    "sums": sums,
    "parallel": parallel,
    "passage": passage,
    "exercise": exercise,
    "page": page,
}
# Knowledge has to be told often to be learnt, so facts weigh most; in hundredths of the clean bytes.
SHARE_OF_BYTES: Mapping[str, int] = {
    "facts": 43,
    "story": 7,
    "letter": 3,
    "dialogue": 7,
    "howto": 3,
    "review": 5,
    "sums": 9,
    "parallel": 12,
    "passage": 6,
    "exercise": 5,
    "page": 0,
}
# Where there are many people to tell of there is text enough for long documents.
SHARE_IN_LARGE_WORLDS: Mapping[str, int] = {**SHARE_OF_BYTES, "facts": 33, "page": 10}
