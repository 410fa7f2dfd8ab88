"""Documents that no text of the world repeats: numbers of people whom only a search can find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from danlu.world.names import LANGS, Lang, Name
from danlu.world.splits import Split, generator, split_of
from danlu.world.truth import World

FIRST_PERSON = 8000  # names before this one are asked about elsewhere
N_PEOPLE = 900  # of whom the documents of all splits tell
PER_DOCUMENT = 8  # people
TOLD = 2  # facts of each person


@dataclass(frozen=True, slots=True)
class Topic:
    """A fact that has a number: how it is told, how it is asked for, what it is called."""

    statement: str
    questions: Sequence[str]
    noun: str = ""  # empty where the number is none to calculate with


@dataclass(frozen=True, slots=True)
class Entry:
    """One sentence of a document, and where it stands: its line, and characters of the text."""

    lang: Lang
    person: Name
    topic: Topic
    number: int
    document: str
    line: int
    start: int
    quote: str

    @property
    def place(self) -> str:
        """As the search tool names it."""
        end = self.start + len(self.quote)
        return f"{self.document}, line {self.line}, characters {self.start} to {end}"

    def question(self, wording: int) -> str:
        """The number asked for."""
        return self.topic.questions[wording % len(self.topic.questions)].format(x=self.person.get(self.lang))


def documents(world: World, split: Split) -> dict[str, str]:
    """The texts of one split by file name."""
    texts: dict[str, str] = {}
    for entry in (entry for lang in LANGS for entry in entries(world, split, lang)):
        texts[entry.document] = texts.get(entry.document, "") + entry.quote + "\n"
    return texts


@lru_cache(maxsize=16)
def entries(world: World, split: Split, lang: Lang) -> tuple[Entry, ...]:
    """Every sentence of one split's documents, document by document."""
    mine = [number for number in range(N_PEOPLE) if split_of("archive", number) == split]
    found: list[Entry] = []
    for start in range(0, len(mine), PER_DOCUMENT):
        found += _document(
            world, lang, f"{lang}-{start // PER_DOCUMENT + 1}.txt", mine[start:][:PER_DOCUMENT]
        )
    return tuple(found)


def absent(world: World, number: int) -> Name:
    """Somebody of whom no document tells."""
    return _name(world, N_PEOPLE + number)


def _name(world: World, number: int) -> Name:
    # Every fourth name recombines those of the world, whom texts tell about.
    return world.unknown("person", FIRST_PERSON + 4 * (number // 3) + number % 3).name


def _document(world: World, lang: Lang, document: str, people: Sequence[int]) -> list[Entry]:
    found: list[Entry] = []
    start = 0
    for number in people:
        rng, person = generator("archive", world.seed, number, lang), _name(world, number)
        for topic in rng.sample(TOPICS[lang], TOLD):
            value = rng.randint(100, 9999)
            quote = topic.statement.format(x=person.get(lang), n=value)
            found.append(Entry(lang, person, topic, value, document, len(found) + 1, start, quote))
            start += len(quote) + 1
    return found


TOPICS: Mapping[Lang, tuple[Topic, ...]] = {
    "en": (
        Topic(
            "The telephone number of {x} is {n}.",
            ("What is the telephone number of {x}?", "Which telephone number does {x} have?"),
            "the telephone number of {x}",
        ),
        Topic(
            "The parcel for {x} weighs {n} grams.",
            ("How many grams does the parcel for {x} weigh?", "What does the parcel for {x} weigh?"),
            "the weight of the parcel for {x}",
        ),
        Topic(
            "The key of {x} hangs in room {n}.",
            ("In which room does the key of {x} hang?", "Which room does the key of {x} hang in?"),
        ),
        Topic(
            "{x} owes the library {n} coins.",
            ("How many coins does {x} owe the library?", "What does {x} owe the library in coins?"),
        ),
    ),
    "zh": (
        Topic(
            "{x}的电话号码是{n}。",
            ("{x}的电话号码是多少？", "{x}的电话号码是什么？"),
            "{x}的电话号码",
        ),
        Topic(
            "寄给{x}的包裹重{n}克。",
            ("寄给{x}的包裹重多少克？", "寄给{x}的包裹重几克？"),
            "寄给{x}的包裹的重量",
        ),
        Topic(
            "{x}的钥匙挂在{n}号房间。",
            ("{x}的钥匙挂在几号房间？", "{x}的钥匙挂在哪号房间？"),
        ),
        Topic(
            "{x}欠图书馆{n}枚硬币。",
            ("{x}欠图书馆多少枚硬币？", "{x}欠图书馆几枚硬币？"),
        ),
    ),
}
