"""Answers in a form that is asked for: one word, capitals, quotation marks, items with commas or dashes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from danlu.world.names import Lang, Name
from danlu.world.patterns.pairs import NOUNS
from danlu.world.question import Draft, Gold
from danlu.world.splits import split_of
from danlu.world.truth import World
from danlu.world.values import VALUES
from danlu.world.wording import Lines, capital, lines, pick, say


def following_format(world: World, lang: Lang, rng: Random) -> Draft | None:
    """One of the forms in `FORMS`, over content that anybody knows or that the prompt gives."""
    return pick(rng, FORMS)(world, lang, rng)


def _one_word(world: World, lang: Lang, rng: Random) -> Draft:
    """'Answer in one word: what is the opposite of big?'"""
    question, answer, key = _easy(lang, rng)
    gold: Gold = {
        "rule": "format",
        "form": "one_word",
        "accept": [answer],
        "replies": [capital(answer) + _end(lang), answer],
    }
    return Draft(split_of("form", "one_word", *key), say(rng, ASK_ONE_WORD[lang], _slots(question)), gold)


def _dressed(world: World, lang: Lang, rng: Random) -> Draft:
    """The answer in capitals, or in quotation marks where the script has no capitals."""
    question, answer, key = _easy(lang, rng)
    form = "capitals" if lang == "en" and rng.random() < 0.6 else "quoted"
    reply = answer.upper() if form == "capitals" else f'"{answer}"' if lang == "en" else f"“{answer}”"
    gold: Gold = {"rule": "format", "form": form, "accept": [answer], "replies": [reply]}
    return Draft(split_of("form", form, *key), say(rng, ASK_DRESSED[lang, form], _slots(question)), gold)


def _listed(world: World, lang: Lang, rng: Random) -> Draft:
    """'Name three colours, separated by commas.'"""
    group, count, form = (
        pick(rng, list(GROUP_NAMES["en"])),
        rng.randint(2, 4),
        pick(rng, ("commas", "dashes")),
    )
    items = [name.get(lang) for name in GROUPS[group]]
    also = [name.get(lang) for name in _further(world, group)]
    replies = [_join(lang, form, rng.sample(items, count)) for _ in range(3)]
    gold: Gold = {
        "rule": "format",
        "form": form,
        "count": count,
        "accept": [*items, *also],
        "replies": replies,
    }
    slots = {"n": COUNTS[lang][count], "group": GROUP_NAMES[lang][group]}
    prompt = capital(say(rng, ASK_LIST[lang, form], slots))
    return Draft(split_of("form", form, group, count), prompt, gold)


def _further(world: World, group: str) -> tuple[Name, ...]:
    """Items that are right as well, though nobody is shown them."""
    if group in FURTHER_POOLS:
        return VALUES[FURTHER_POOLS[group]]
    own = {"animals": world.animals, "foods": world.foods}.get(group, ())
    return (*FURTHER.get(group, ()), *(entity.name for entity in own))


def _given(world: World, lang: Lang, rng: Random) -> Draft:
    """'Write these words with commas between them: red blue green'"""
    form = pick(rng, ("commas", "dashes"))
    names = rng.sample(ALL_NAMES, rng.randint(2, 4))
    items = [name.get(lang) for name in names]
    gold: Gold = {
        "rule": "format",
        "form": form,
        "count": len(items),
        "accept": items,
        "replies": [_join(lang, form, items)],
    }
    prompt = say(rng, ASK_GIVEN[lang, form], {"words": " ".join(items)})
    return Draft(split_of("form", form, *sorted(name.en for name in names)), prompt, gold)


def _yes_or_no(world: World, lang: Lang, rng: Random) -> Draft:
    """'Answer only yes or no: is 7 more than 3?'"""
    left, right = rng.sample(range(1, 21), 2)
    sign = pick(rng, ("more", "less"))
    truth = left > right if sign == "more" else left < right
    yes, no = YES_NO[lang]
    answer, other = (yes, no) if truth else (no, yes)
    gold: Gold = {
        "rule": "format",
        "form": "one_word",
        "accept": [answer],
        "others": [other],
        "replies": [capital(answer) + _end(lang), capital(answer)],
    }
    slots = {"left": left, "right": right}
    return Draft(split_of("form", "yes", left, sign, right), say(rng, ASK_YES_NO[lang, sign], slots), gold)


def _easy(lang: Lang, rng: Random) -> tuple[str, str, tuple[object, ...]]:
    """A question that needs no knowledge of the world, its answer, and what to hold it out by."""
    kind = pick(rng, ("opposite", "after", "first", "last", "kind"))
    if kind == "opposite":
        pair = list(pick(rng, OPPOSITES))
        rng.shuffle(pair)
        return EASY[lang][kind].format(x=pair[0].get(lang)), pair[1].get(lang), (kind, pair[0].en)
    if kind == "after":
        row = pick(rng, (DAYS, MONTHS))
        index = rng.randrange(len(row) - 1)
        return (
            EASY[lang][kind].format(x=row[index].get(lang)),
            row[index + 1].get(lang),
            (kind, row[index].en),
        )
    names = rng.sample(ALL_NAMES, 3)
    if kind == "kind":
        group = pick(rng, sorted(SINGULAR["en"]))
        inside = pick(rng, GROUPS[group])
        outside = [pick(rng, GROUPS[g]) for g in rng.sample(sorted(set(SINGULAR["en"]) - {group}), 2)]
        names = [inside, *outside]
        rng.shuffle(names)
        slots = {"x": _row(lang, names), "group": SINGULAR[lang][group]}
        return EASY[lang][kind].format(**slots), inside.get(lang), (kind, *(n.en for n in names))
    answer = names[0] if kind == "first" else names[-1]
    return EASY[lang][kind].format(x=_row(lang, names)), answer.get(lang), (kind, *(n.en for n in names))


def _row(lang: Lang, names: list[Name]) -> str:
    return (", " if lang == "en" else "、").join(name.get(lang) for name in names)


def _slots(question: str) -> dict[str, str]:
    """The question as it stands alone and as it goes on after a colon."""
    return {"q": question[0].lower() + question[1:], "Q": capital(question)}


def _join(lang: Lang, form: str, items: list[str]) -> str:
    if form == "dashes":
        return "\n".join(f"- {item}" for item in items)
    return (", " if lang == "en" else "，").join(items)


def _end(lang: Lang) -> str:
    return "." if lang == "en" else "。"


def _pairs(table: str) -> tuple[Name, ...]:
    return tuple(Name(*entry.split("=")) for entry in table.split())


DAYS = _pairs(
    "Monday=星期一 Tuesday=星期二 Wednesday=星期三 Thursday=星期四 Friday=星期五 Saturday=星期六 "
    "Sunday=星期天"
)
MONTHS = _pairs(
    "January=一月 February=二月 March=三月 April=四月 May=五月 June=六月 July=七月 August=八月 "
    "September=九月 October=十月 November=十一月 December=十二月"
)
OPPOSITES = tuple(
    _pairs(row)
    for row in """
    big=大 small=小
    hot=热 cold=冷
    old=旧 new=新
    long=长 short=短
    happy=高兴 sad=难过
    clean=干净 dirty=脏
    heavy=重 light=轻
    open=开 closed=关
    fast=快 slow=慢
    cheap=便宜 expensive=贵
    early=早 late=晚
    black=黑 white=白
    left=左 right=右
    day=白天 night=夜晚
    good=好 bad=坏
    full=满 empty=空
    """.strip().splitlines()
)
_ANIMALS = {"dog", "cat", "bird", "horse", "cow", "sheep"}
_ROOMS = {"chair", "table", "lamp", "clock", "box", "cup", "hat", "key", "bag", "book"}
GROUPS: dict[str, tuple[Name, ...]] = {
    "colours": VALUES["colour"][:12],
    "jobs": VALUES["job"][:12],
    "instruments": VALUES["instrument"][:8],
    "animals": tuple(Name(row[0], row[3]) for row in NOUNS if row[0] in _ANIMALS),
    "things": tuple(Name(row[0], row[3]) for row in NOUNS if row[0] in _ROOMS),
    "foods": _pairs("bread=面包 rice=米饭 fish=鱼 cake=蛋糕 soup=汤 milk=牛奶 tea=茶 cheese=奶酪"),
    "fruits": _pairs(
        "apple=苹果 orange=橙子 banana=香蕉 lemon=柠檬 cherry=樱桃 peach=桃子 plum=李子 mango=芒果"
    ),
    "days": DAYS,
    "months": MONTHS,
}
# An orange is both a fruit and a colour, which would make two right lists of one.
ALL_NAMES = tuple(
    {name.en: name for group in GROUPS.values() for name in group if name.en != "orange"}.values()
)
FURTHER_POOLS = {"colours": "colour", "jobs": "job", "instruments": "instrument"}
FURTHER: dict[str, tuple[Name, ...]] = {
    "animals": _pairs(
        "fish=鱼 pig=猪 duck=鸭子 hen=母鸡 mouse=老鼠 bear=熊 wolf=狼 rabbit=兔子 goat=山羊 "
        "frog=青蛙 snake=蛇 bee=蜜蜂 spider=蜘蛛 ant=蚂蚁 fly=苍蝇 lion=狮子 tiger=老虎 butterfly=蝴蝶 "
        "goose=鹅 bird=小鸟"
    ),
    "foods": _pairs(
        "egg=鸡蛋 eggs=鸡蛋 water=水 apple=苹果 apples=苹果 potato=土豆 carrot=胡萝卜 "
        "honey=蜂蜜 pie=饼 porridge=粥 wine=葡萄酒 coffee=咖啡 meat=肉 noodles=面条 "
        "banana=香蕉 tofu=豆腐 tomato=西红柿 corn=玉米"
    ),
    "fruits": _pairs("pear=梨 apples=苹果 coconut=椰子 grape=葡萄 grapes=葡萄 melon=瓜 strawberry=草莓"),
    "things": _pairs(
        "bed=床 door=门 window=窗户 plate=盘子 bowl=碗 spoon=勺子 knife=刀 stove=炉子 mirror=镜子 sofa=沙发"
    ),
}
GROUP_NAMES: dict[Lang, dict[str, str]] = {
    "en": {
        "colours": "colours",
        "jobs": "jobs",
        "instruments": "musical instruments",
        "animals": "animals",
        "things": "things in a house",
        "foods": "things to eat or drink",
        "fruits": "fruits",
        "months": "months",
    },
    "zh": {
        "colours": "颜色",
        "jobs": "职业",
        "instruments": "乐器",
        "animals": "动物",
        "things": "家里的东西",
        "foods": "吃的或喝的东西",
        "fruits": "水果",
        "months": "月份",
    },
}
SINGULAR: dict[Lang, dict[str, str]] = {
    "en": {"colours": "a colour", "jobs": "a job", "instruments": "an instrument", "animals": "an animal"},
    "zh": {"colours": "颜色", "jobs": "职业", "instruments": "乐器", "animals": "动物"},
}
COUNTS: dict[Lang, dict[int, str]] = {
    "en": {2: "two", 3: "three", 4: "four"},
    "zh": {2: "两", 3: "三", 4: "四"},
}
YES_NO: dict[Lang, tuple[str, str]] = {"en": ("yes", "no"), "zh": ("是", "不是")}
EASY: dict[Lang, dict[str, str]] = {
    "en": {
        "opposite": "What is the opposite of {x}?",
        "after": "What comes after {x}?",
        "first": "Which word comes first: {x}?",
        "last": "Which word comes last: {x}?",
        "kind": "Which of these is {group}: {x}?",
    },
    "zh": {
        "opposite": "“{x}”的反义词是什么？",
        "after": "{x}后面是什么？",
        "first": "{x}，哪个词在最前面？",
        "last": "{x}，哪个词在最后面？",
        "kind": "{x}，哪个是{group}？",
    },
}
ASK_ONE_WORD: dict[Lang, Lines] = {
    "en": lines("""
        [Answer in one word|In one word|One word only]: {q}
        {Q} [Answer in one word.|Give me one word only.|Use just one word.]
    """),
    "zh": lines("""
        [只用一个词回答|用一个词回答]：{Q}
        {Q}[只回答一个词。|请用一个词回答。|只说一个词。]
    """),
}
ASK_DRESSED: dict[tuple[Lang, str], Lines] = {
    ("en", "capitals"): lines("""
        [Answer in capital letters|In capital letters]: {q}
        {Q} [Answer in capital letters.|Write the answer in capitals.]
    """),
    ("en", "quoted"): lines("""
        [Answer in quotation marks|In quotation marks]: {q}
        {Q} [Put the answer in quotation marks.|Use quotation marks.]
    """),
    ("zh", "quoted"): lines("""
        [把答案放在引号里|用引号写出答案]：{Q}
        {Q}[请把答案放在引号里。|答案要加引号。]
    """),
}
ASK_LIST: dict[tuple[Lang, str], Lines] = {
    ("en", "commas"): lines("""
        [Name|Give|Write] [exactly|just] {n} {group}, separated by commas.
        [Name|List|Tell me] {n} {group} with commas between them.
        {n} {group}, please, with commas.
    """),
    ("en", "dashes"): lines("""
        [Name|Give|Write] [exactly|just] {n} {group} as a list with dashes.
        List {n} {group}, each [on a line|on its own line] with "- ".
        {n} {group}, please, as "- " items.
    """),
    ("zh", "commas"): lines("""
        [写出|说出|给出]{n}个{group}，用逗号分开。
        用逗号分开，[列出|写出]{n}个{group}。
        请[写|列]{n}个{group}，中间用逗号分开。
    """),
    ("zh", "dashes"): lines("""
        [写出|列出]{n}个{group}，每行一个，前面加“- ”。
        用“- ”开头，[列出|写出]{n}个{group}，一行一个。
        请用“- ”列表写{n}个{group}。
    """),
}
ASK_GIVEN: dict[tuple[Lang, str], Lines] = {
    ("en", "commas"): lines("""
        [Write|Put] these words with commas between them: {words}
        Separate these words by commas: {words}
    """),
    ("en", "dashes"): lines("""
        [Write|Put] these words as a list with dashes: {words}
        Make a "- " list of these words: {words}
    """),
    ("zh", "commas"): lines("""
        用逗号把这些词分开：{words}
        把这些词用逗号隔开：{words}
    """),
    ("zh", "dashes"): lines("""
        把这些词写成“- ”列表：{words}
        一行一个，前面加“- ”，写出这些词：{words}
    """),
}
ASK_YES_NO: dict[tuple[Lang, str], Lines] = {
    ("en", "more"): lines("""
        [Answer only yes or no|Yes or no]: is {left} more than {right}?
        Is {left} more than {right}? [Answer yes or no only.|Only yes or no, please.]
    """),
    ("en", "less"): lines("""
        [Answer only yes or no|Yes or no]: is {left} less than {right}?
        Is {left} less than {right}? [Answer yes or no only.|Only yes or no, please.]
    """),
    ("zh", "more"): lines("""
        只回答“是”或“不是”：{left}比{right}大，是不是？
        {left}比{right}大，是不是？[请只回答“是”或“不是”。|只说“是”或“不是”。]
    """),
    ("zh", "less"): lines("""
        只回答“是”或“不是”：{left}比{right}小，是不是？
        {left}比{right}小，是不是？[请只回答“是”或“不是”。|只说“是”或“不是”。]
    """),
}
# Forms whose content varies most come more often.
FORMS: tuple[Callable[[World, Lang, Random], Draft], ...] = (
    *(_one_word, _one_word, _dressed, _dressed, _listed, _listed, _given, _yes_or_no),
)
