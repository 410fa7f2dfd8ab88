"""Invented names: an English and a Chinese form from one row of syllables, and names that stay unused.

A name is head + tail, such as Mi-na / 米娜; each kind of entity has tails of its own, so that a name looks
like what it names. Large worlds put a middle syllable between. A name of the world and a name that is sure
not to be in it are drawn from the same shuffled space, so nothing but knowledge tells them apart.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Literal

Lang = Literal["en", "zh"]
Kind = Literal["person", "place", "animal", "food", "thing"]
LANGS: tuple[Lang, Lang] = ("en", "zh")
KINDS: tuple[Kind, ...] = ("person", "place", "animal", "food", "thing")


@dataclass(frozen=True, slots=True)
class Name:
    """One word or phrase in both languages."""

    en: str
    zh: str

    def get(self, lang: Lang) -> str:
        """The form in `lang`."""
        return self.en if lang == "en" else self.zh


@dataclass(frozen=True, slots=True)
class Coined:
    """An invented name with the part of it that was chosen, for prose: a soup, a village, a woman."""

    name: Name
    sort: str  # person: "f" or "m"; place: "village" ...; food: "soup" ...; otherwise ""


class NameSpace:
    """All names of one world, and the stems it left unused.

    `counts` says how many stems of each pool it uses: given, family, place, animal, food, thing, river.
    """

    def __init__(self, seed: int, counts: dict[str, int]) -> None:
        self.seed = seed
        self.counts = counts
        self._stems: dict[str, list[Name]] = {}
        taken = _Taken()
        for pool in POOLS:
            self._stems[pool] = _take(_shuffled(seed, pool, counts.get(pool, 0)), counts.get(pool, 0), taken)
        self._spare = {pool: _spare(seed, pool, counts.get(pool, 0), taken) for pool in POOLS}

    def stems(self, pool: str) -> list[Name]:
        """The stems of `pool` that the world uses."""
        return self._stems[pool]

    def known(self, kind: Kind, n: int) -> list[Coined]:
        """The names of the world's `n` entities of this kind."""
        if kind == "person":
            return _people(self._stems["given"], self._stems["family"], n, self.seed)
        return [_coin(kind, stem, index) for index, stem in enumerate(self._stems[kind][:n])]

    def unknown(self, kind: Kind, index: int) -> Coined:
        """A well-formed name that no entity bears; every fourth person recombines parts that do occur."""
        if index < 0:
            raise ValueError(f"unknown name number {index} of kind {kind!r}; the number must be 0 or more")
        if kind == "person":
            return self._unknown_person(index)
        spare = self._spare[kind]
        if index >= len(spare):
            raise ValueError(f"there are {len(spare)} unused {kind} names, so number {index} does not exist")
        return _coin(kind, spare[index], index)

    def _unknown_person(self, index: int) -> Coined:
        given, family = self._spare["given"], self._spare["family"]
        if index % 4 == 3 and len(self._stems["family"]) > 1:
            return self._recombined(index // 4)
        row = index // len(given)
        return _person(given[index % len(given)], family[(index + row) % len(family)])

    def _recombined(self, index: int) -> Coined:
        """A given and a family name that occur, but never together: `_people` leaves these pairs free."""
        given, family = self._stems["given"], self._stems["family"]
        column, row = index % len(given), index // len(given)
        shift = 1 + _rounds(self.counts["person"], len(given)) + row
        if shift >= len(family):
            raise ValueError(f"only {len(given) * (len(family) - 1)} recombined names exist in this world")
        return _person(given[column], family[(column + shift) % len(family)])


def article(word: str) -> str:
    """The English indefinite article that `word` takes."""
    return "an" if word[:1].lower() in "aeiou" and not word.lower().startswith(("uni", "use", "eu")) else "a"


def with_article(word: str) -> str:
    """`word` with its indefinite article."""
    return f"{article(word)} {word}"


def plural(word: str) -> str:
    """The English plural of an invented or regular noun."""
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def _people(given: list[Name], family: list[Name], n: int, seed: int) -> list[Coined]:
    """Pair given and family names so that given names repeat as late as possible and no pair repeats."""
    if n > len(given) * max(1, len(family) - 1):
        raise ValueError(f"{n} people need more names than {len(given)} x {len(family)} parts can make")
    return [
        _person(given[i % len(given)], family[(i % len(given) + i // len(given)) % len(family)])
        for i in range(n)
    ]


def _rounds(n: int, columns: int) -> int:
    """How many times `_people` went through the given names, less one."""
    return max(0, n - 1) // columns


def _person(given: Name, family: Name) -> Coined:
    name = Name(f"{given.en} {family.en}", f"{given.zh}·{family.zh}")
    return Coined(name, "f" if given.zh[-1] in FEMALE_ENDINGS else "m")


def _coin(kind: Kind, stem: Name, index: int) -> Coined:
    if kind == "place":
        zh, sort = PLACE_SORTS[index % len(PLACE_SORTS)]
        return Coined(Name(stem.en, stem.zh + zh), sort)
    if kind == "food":
        zh, sort = FOOD_SORTS[index % len(FOOD_SORTS)]
        return Coined(Name(f"{stem.en} {sort}", stem.zh + zh), sort)
    return Coined(Name(stem.en.lower(), stem.zh + {"animal": "兽", "thing": "器"}[kind]), "")


class _Taken:
    """The stems in use; in neither language may one contain another."""

    def __init__(self) -> None:
        self._whole: set[str] = set()
        self._parts: set[str] = set()

    def admit(self, stem: Name) -> bool:
        """Take `stem` in if it is free."""
        words = (stem.en.lower(), stem.zh)
        if any(w in self._parts or self._whole.intersection(_parts(w)) for w in words):
            return False
        for word in words:
            self._whole.add(word)
            self._parts.update(_parts(word))
        return True


def _parts(word: str) -> list[str]:
    return [word[start:end] for start in range(len(word)) for end in range(start + 1, len(word) + 1)]


def _take(stems: Iterator[Name], n: int, taken: _Taken) -> list[Name]:
    found: list[Name] = []
    while len(found) < n:
        stem = next(stems, None)
        if stem is None:
            raise ValueError(f"the syllables ran out after {len(found)} of {n} names")
        if taken.admit(stem):
            found.append(stem)
    return found


def _spare(seed: int, pool: str, n_used: int, taken: _Taken) -> list[Name]:
    """Up to 400 stems that the world leaves unused, no two alike, short ones first."""
    spare: list[Name] = []
    for stem in chain(_shuffled(seed, pool, n_used), _shuffled(seed, pool, len(_two_syllables(pool)))):
        if len(spare) == 400:
            break
        if taken.admit(stem):
            spare.append(stem)
    return spare


def _shuffled(seed: int, pool: str, n: int) -> Iterator[Name]:
    """All stems of a pool in an order given by the seed: short ones only, as long as these are plenty."""
    short = list(_two_syllables(pool))
    if n > len(short) // 3:
        short = [*short, *_three_syllables(pool)]
    random.Random(f"{seed}/names/{pool}").shuffle(short)
    yield from short


@lru_cache(maxsize=16)
def _two_syllables(pool: str) -> tuple[Name, ...]:
    return tuple(_join(h, t) for h in _pairs(HEADS) for t in _pairs(POOLS[pool]) if _sounds(h[0], t[0]))


@lru_cache(maxsize=16)
def _three_syllables(pool: str) -> tuple[Name, ...]:
    return tuple(
        _join(h, (m[0] + t[0], m[1] + t[1]))
        for h in _pairs(HEADS)
        for m in _pairs(MIDDLES)
        for t in _pairs(POOLS[pool])
        if _sounds(h[0], m[0]) and _sounds(m[0], t[0])
    )


def _sounds(first: str, second: str) -> bool:
    """Whether two syllables may stand together: no echo such as 'Ra-ra', no word of English."""
    return first.lower()[:2] != second[:2] and (first + second).lower() not in REAL_WORDS.split()


def _join(head: tuple[str, str], tail: tuple[str, str]) -> Name:
    return Name(head[0] + tail[0], head[1] + tail[1])


def _pairs(table: str) -> list[tuple[str, str]]:
    words = table.split()
    return list(zip(words[::2], words[1::2], strict=True))


HEADS = """
Mi 米 Lo 洛 Ta 塔 Ke 克 Su 苏 Ve 维 No 诺 Ri 里 Da 达 Pe 佩 Jo 乔 Ka 卡 Be 贝 Fa 法 Go 戈 Ha 哈 Li 利
Ma 马 Ne 内 O 奥 Pa 帕 Ra 拉 Sa 萨 Te 特 U 乌 Va 瓦 Wi 威 Ya 雅 Ze 泽 A 阿 E 埃 I 伊 Bo 博 Do 多 Fi 菲
Ga 加 Hu 胡 Ju 朱 Ko 科 Lu 卢 Mo 莫 Nu 努 Po 波 Ro 罗 Se 塞 To 托 Xa 夏 Zo 佐 Bri 布 Gre 格 Fro 弗
Dre 德 Sha 沙 Che 切 Ti 蒂 Ho 霍
"""
MIDDLES = "la 拉 ri 里 no 诺 de 德 ve 维 mo 莫 ta 塔 si 西 ke 克 lu 卢 ma 玛 be 贝"
FEMALE = "na 娜 lia 丽 sha 莎 lin 琳 nell 妮 ra 菈 dia 蒂 via 薇 mina 敏 rose 柔"
MALE = "ton 顿 bert 伯 rik 克 dan 丹 vid 维 mund 蒙 gor 戈 han 汉 rek 雷 lo 洛"
FEMALE_ENDINGS = frozenset(FEMALE.split()[1::2])
POOLS = {
    "given": f"{FEMALE} {MALE}",
    "family": "len 伦 dor 多 vin 文 ker 克 mar 马 sel 塞 brant 兰 gil 吉 wen 温 quist 奎 zan 赞 thel 瑟",
    "place": (
        "wick 威 mere 梅 holm 霍 dale 代 ford 福 stead 泰 bury 伯 ham 汉 "
        "mont 蒙 gate 盖 lund 隆 wold 沃 stow 斯"
    ),
    "animal": (
        "rrin 林 bok 博 vel 维 mok 莫 zill 兹 pard 帕 nix 尼 tuk 图 lope 洛 gash 加 ding 丁 wex 韦 rull 鲁"
    ),
    "food": (
        "lumi 露米 po 波 nami 娜米 chi 奇 bao 宝 tavo 塔沃 zu 祖 kiri 奇里 "
        "mel 梅 sso 索 rana 拉纳 moko 莫科 dipo 迪波"
    ),
    "thing": (
        "dle 德 vex 维 pult 普 crank 兰 tor 托 gron 龙 fern 丰 nette 奈 "
        "bril 里 skop 科 lom 洛 vark 瓦 spin 平"
    ),
    "river": "dra 卓 lva 尔瓦 rnu 努 ska 斯卡 nto 恩托 mba 姆巴",
}
PLACE_SORTS = (("村", "village"), ("镇", "town"), ("城", "city"), ("港", "port"))
FOOD_SORTS = (
    ("汤", "soup"),
    ("糕", "cake"),
    ("粥", "porridge"),
    ("饼", "pie"),
    ("酪", "cheese"),
    ("面包", "bread"),
    ("果酱", "jam"),
    ("炖菜", "stew"),
    ("布丁", "pudding"),
    ("沙拉", "salad"),
)
REAL_WORDS = """
motor tutor rotor sudan david rigor livid para halo arose avid era sedan robert kevin briton taker joker maker
poker shaker odor lovin agate novel gavel unix amok ravel elope kamel idle bridle mamba samba panto kanto
"""
