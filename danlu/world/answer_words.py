"""The words by which a grader knows a hedge, a refusal or an offer, and those that any answer may use."""

from __future__ import annotations

import re

from danlu.world.names import Lang


def _word_set(block: str) -> frozenset[str]:
    return frozenset(block.split())


CONTRACTIONS = (
    ("can't", "cannot"),
    ("won't", "will not"),
    ("n't", " not"),
    ("i'm", "i am"),
    ("'re", " are"),
    ("he's", "he is"),
    ("it's", "it is"),
    ("we'll", "we will"),
    ("can not", "cannot"),
)
TIMES_EN = (
    *("every day", "every morning", "every evening", "often", "at home", "in garden", "at school"),
    *("yesterday", "last night", "this morning", "last week", "tomorrow morning", "tomorrow", "tonight"),
    *("next week", "today", "now"),
)
TIMES_ZH = (
    *(
        "每天早上",
        "每天晚上",
        "每天",
        "经常",
        "昨天",
        "昨晚",
        "今天早上",
        "上星期",
        "明天早上",
        "明天",
        "今晚",
    ),
    *("下星期", "今天", "现在"),
)
HEDGES: dict[Lang, re.Pattern[str]] = {
    "en": re.compile(
        r"\b(or|either|maybe|perhaps|probably|possibly|might|could be|guess|unsure|not sure|i think|likely)\b"
    ),
    "zh": re.compile(r"或|可能|也许|大概|好像|似乎|要么|还是|说不定|猜"),
}
NEGATIONS: dict[Lang, re.Pattern[str]] = {
    "en": re.compile(r"\b(not|no|never|nobody|nothing|none|cannot|unknown)\b|n't\b"),
    "zh": re.compile(r"不|没|未"),
}
IGNORANCE: dict[Lang, re.Pattern[str]] = {
    "en": re.compile(
        r"\b(do not|don't|did not|didn't) know\b|\bnever heard\b|\bno idea\b|\bknow nothing\b"
        r"|\b(can't|cannot) say\b"
        r"|\bnot familiar\b|\bno information\b|\bunknown to me\b|\b(have not|haven't) heard\b"
    ),
    "zh": re.compile(r"不知道|没(有)?听说过|不认识|不清楚|不了解|说不上来|没听过|不熟悉|无从得知"),
}
REFUSALS: dict[Lang, re.Pattern[str]] = {
    "en": re.compile(
        r"\b(can't|cannot|can not|won't|will not|would not|must not|may not|am not able|not going) ?(to )?"
        r"(help|do|assist|tell|take part|answer|be part)|^no\b|\bi refuse\b|\bi would rather not\b"
    ),
    "zh": re.compile(r"不能(帮|做|告诉|这样)|不会(帮|做|告诉)|无法帮|不可以帮|不行|拒绝|帮不了|不帮"),
}
OFFERS: dict[Lang, re.Pattern[str]] = {
    "en": re.compile(r"\b(but i can|i can|i could|let me|i would be glad to|i am happy to|i'd be glad to)\b"),
    "zh": re.compile(r"但我可以|不过我可以|但是我可以|我可以|我能|我愿意|要不我来|我来|我倒是可以"),
}
PLANS: dict[Lang, re.Pattern[str]] = {
    "en": re.compile(
        r"\b(first|second|step|then you|you need|you should|you can|you could|yes|of course|sure)\b|\d[.)]"
    ),
    "zh": re.compile(r"首先|第一|步骤|然后你|你需要|你可以|你应该|当然|^好的|没问题|\d[.、)]"),
}
EQUALS: dict[Lang, re.Pattern[str]] = {
    "en": re.compile(r"=|\b(is|are|makes?|gives?|equals?|left|answer|get|has|have)\b"),
    "zh": re.compile(r"=|等于|得|是|剩|有|答"),
}
NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety",
    "零一二三四五六七八九十百千两",
)
FILLERS: dict[Lang, frozenset[str]] = {
    "en": _word_set("""
        a an the is are was were be been has have had do does did in on at of to for from by with as and
        it its he she his her him they their them this that these those there here who what which where
        when how i you we my your me very so also too well yes called named name answer question kind
        colour color job work works worker live lives living home house place town village city port
        region part country area country's river runs flows through along known famous product found
        founded built year years old age mayor governs leader animal pet keeps keep eats eat feeds feed
        food foods legs leg walks lifespan tastes taste tasting made make makes from main ingredient
        comes come origin material use used uses invented invented inventor invention maker first
        favourite favorite likes like loves love best most friend plays play instrument lies located
        review tone sentiment writer text it's that's one can people sum result total makes gives equals
        plus minus times now left altogether s thing person help person's situated stands time
    """),
    "zh": frozenset(
        "的是在了有个这那它他她我你您们和与也都就很吗呢吧啊哦嗯一住家养叫做名字答案问题颜色工作职业地方村镇城港河边流过旁"
        "年岁今建立于长官管理动物宠物吃食喝喜欢最爱好朋友会弹吹拉打演奏乐器味道用来自产地材料发明人者特以闻名出"
        "位生活腿条活能寿命原主要评论语气评价这种正负面该为其里面等得结果共剩现还只块本杯朵支张枚"
    ),
}
SUMMARY_WORDS: dict[Lang, frozenset[str]] = {
    "en": _word_set("a an the and then in it"),
    "zh": frozenset("了的和，"),
}
