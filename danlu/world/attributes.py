"""What can be asked about each kind of entity: the attribute's noun, its values, and question wordings.

In every pattern `{x}` stands for the subject's bare name; patterns about animals and things bring their own
articles. `phrase` denotes the value itself ("the place where {x} lives"), so that a question about a fact of
a fact is a question pattern with a phrase in the place of the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from danlu.world.names import Kind, Lang, Name
from danlu.world.patterns.questions import QUESTIONS


@dataclass(frozen=True, slots=True)
class Attribute:
    """One kind of fact."""

    name: str
    pool: str  # the value pool: a key of VALUES, a kind of entity, or age, year, legs, lifespan, river
    noun: Name
    phrase: Name
    questions: Mapping[Lang, tuple[str, ...]]


def _attributes(kind: Kind, table: str) -> Mapping[str, Attribute]:
    """The attributes of a kind from rows of 'name / pool / noun / 名词 / phrase / 短语'."""
    rows = ([cell.strip() for cell in row.split("/")] for row in table.strip().splitlines())
    return {
        name: Attribute(
            name, pool, Name(noun, noun_zh), Name(phrase, phrase_zh), _questions(f"{kind}.{name}")
        )
        for name, pool, noun, noun_zh, phrase, phrase_zh in rows
    }


def _questions(key: str) -> Mapping[Lang, tuple[str, ...]]:
    """The wordings under `key`; the languages are told apart by their question marks."""
    body = QUESTIONS.partition(f"= {key}\n")[2].partition("\n\n")[0]
    asked = body.strip().splitlines()
    return {
        "en": tuple(q for q in asked if q.endswith("?")),
        "zh": tuple(q for q in asked if q.endswith("？")),
    }


ATTRIBUTES: Mapping[Kind, Mapping[str, Attribute]] = {
    "person": _attributes(
        "person",
        """
  job / job / job / 职业 / the job of {x} / {x}的职业
  home / place / home / 家 / the place where {x} lives / {x}住的地方
  pet / animal / pet / 宠物 / pet of {x} / {x}养的宠物
  favourite_food / food / favourite food / 最爱吃的东西 / the favourite food of {x} / {x}最爱吃的东西
  favourite_colour / colour / favourite colour / 最喜欢的颜色 / the favourite colour of {x} / {x}最喜欢的颜色
  age / age / age / 年龄 / the age of {x} / {x}的年龄
  friend / person / best friend / 最好的朋友 / the best friend of {x} / {x}最好的朋友
  instrument / instrument / instrument / 乐器 / the instrument that {x} plays / {x}会的乐器
        """,
    ),
    "place": _attributes(
        "place",
        """
  region / region / region / 地区 / the part of the country where {x} lies / {x}所在的地区
  river / river / river / 河 / the river of {x} / {x}旁边的河
  known_for / product / best-known product / 特产 / the product that {x} is known for / {x}的特产
  founded / year / founding year / 建立的年份 / the year in which {x} was founded / {x}建立的年份
  mayor / person / mayor / 长官 / the mayor of {x} / {x}的长官
        """,
    ),
    "animal": _attributes(
        "animal",
        """
  colour / colour / colour / 颜色 / the colour of the {x} / {x}的颜色
  diet / diet / food / 食物 / the food of the {x} / {x}的食物
  habitat / habitat / home / 栖息地 / the home of the {x} / {x}生活的地方
  legs / legs / number of legs / 腿的数目 / the number of legs of the {x} / {x}的腿数
  lifespan / lifespan / span of life / 寿命 / the span of life of the {x} / {x}的寿命
        """,
    ),
    "food": _attributes(
        "food",
        """
  taste / taste / taste / 味道 / the taste of {x} / {x}的味道
  colour / colour / colour / 颜色 / the colour of {x} / {x}的颜色
  ingredient / ingredient / main ingredient / 主要原料 / the main ingredient of {x} / {x}的主要原料
  origin / place / place of origin / 产地 / the place where {x} comes from / {x}的产地
        """,
    ),
    "thing": _attributes(
        "thing",
        """
  material / material / material / 材料 / the material of the {x} / {x}的材料
  use / use / use / 用途 / the use of the {x} / {x}的用途
  colour / colour / colour / 颜色 / the colour of the {x} / {x}的颜色
  maker / person / maker / 发明人 / the person who invented the {x} / 发明{x}的人
        """,
    ),
}
