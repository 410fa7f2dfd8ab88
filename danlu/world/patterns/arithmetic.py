"""How sums are put into words, in both languages."""

from __future__ import annotations

from danlu.world.wording import Lang, Lines, lines, words


def _pairs(block: str) -> tuple[tuple[str, str], ...]:
    """Singular and plural in English; measure word and noun in Chinese."""
    split = (entry.split("/") for entry in words(block))
    return tuple((first, second) for first, second in split)


SPELT: dict[Lang, tuple[str, ...]] = {
    "en": words(
        "zero, one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, "
        "fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty"
    ),
    "zh": words(
        "零, 一, 二, 三, 四, 五, 六, 七, 八, 九, 十, "
        "十一, 十二, 十三, 十四, 十五, 十六, 十七, 十八, 十九, 二十"
    ),
}
SIGN_NAMES = {
    "en": {"+": "adding", "−": "taking away", "×": "multiplying"},
    "zh": {"+": "加法", "−": "减法", "×": "乘法"},
}
# Singular and plural in English; measure word and noun in Chinese.
SIGN_WORDS: dict[Lang, dict[str, str]] = {
    "en": {"+": "plus", "−": "minus", "×": "times"},
    "zh": {"+": "加", "−": "减", "×": "乘"},
}
COUNTED: dict[Lang, tuple[tuple[str, str], ...]] = {
    "en": _pairs(
        "apple/apples, egg/eggs, cup/cups, book/books, pencil/pencils, coin/coins, stone/stones, fish/fish, "
        "button/buttons, shell/shells, stamp/stamps, card/cards, cake/cakes, ball/balls, flower/flowers, "
        "pear/pears, nut/nuts, candle/candles, basket/baskets, leaf/leaves"
    ),
    "zh": _pairs(
        "个/苹果, 个/鸡蛋, 个/杯子, 本/书, 支/铅笔, 枚/硬币, 块/石头, 颗/纽扣, 个/贝壳, 张/邮票, 张/卡片, "
        "块/蛋糕, 个/球, 朵/花, 个/梨, 颗/核桃, 根/蜡烛, 个/篮子, 片/叶子, 条/鱼"
    ),
}
LEADS = {
    "en": (
        ("{step}.", "{step}.", "{step}."),
        ("First, {step}.", "Then {step}.", "Last, {step}."),
        ("We start with {step}.", "Next, {step}.", "After that, {step}."),
        ("Step by step: {step}.", "{step}.", "{step}."),
        ("We know that {step}.", "Then {step}.", "And {step}."),
    ),
    "zh": (
        ("{step}。", "{step}。", "{step}。"),
        ("先算{step}。", "再算{step}。", "最后算{step}。"),
        ("第一步，{step}。", "下一步，{step}。", "再下一步，{step}。"),
        ("一步一步来：{step}。", "{step}。", "{step}。"),
        ("我们知道{step}。", "然后{step}。", "接着{step}。"),
    ),
}
ASK: dict[Lang, Lines] = {
    "en": lines("""
        [Work out|Find|Calculate] {sum}.
        What is {sum}?
        How much is {sum}?
        {sum} = ?
        The sum is {sum}.
        Let us [work out|do|solve] {sum} [together|step by step].
        Question: what is {sum}? Answer:
        The teacher [asks|wants to know]: what is {sum}?
        Here is a sum: {sum}.
    """),
    "zh": lines("""
        [计算|算一算]{sum}。
        {sum}等于多少？
        {sum}是多少？
        {sum} = ？
        题目是{sum}。
        我们[一起|一步一步]来算{sum}。
        问：{sum}等于几？答：
        老师[问|想知道]：{sum}得多少？
        这里有一道题：{sum}。
    """),
}
ANSWER: dict[Lang, Lines] = {
    "en": lines("""
        The answer is {answer}.
        So the answer is {answer}.
        The result is {answer}.
        That [makes|gives] {answer}.
        Answer: {answer}.
    """),
    "zh": lines("""
        答案是{answer}。
        所以答案是{answer}。
        结果是{answer}。
        [一共|最后]得{answer}。
        答：{answer}。
    """),
}
TABLE: dict[Lang, Lines] = {
    "en": lines("""
        {name} with the number {left}:
        The table of {left}, {name}:
        Learn these by heart ({name}, {left}):
        [Practise|Let us practise] {name} with {left}.
        The teacher wrote on the board, {name} with {left}:
        Some sums with {left}:
    """),
    "zh": lines("""
        {left}的{name}：
        {left}的{name}表：
        请把{left}的{name}背下来：
        [我们来练习|练习]{left}的{name}。
        老师在黑板上写了{left}的{name}：
        和{left}有关的算式：
    """),
}
HAVE: dict[Lang, Lines] = {
    "en": lines("""
        {a} has {n}.
        {a} [had|owned] {n}.
        In the morning {a} had {n}.
        There are {n} in {a}'s bag.
        {a} [found|picked up|counted] {n}.
        {a} comes home with {n}.
    """),
    "zh": lines("""
        {a}有{n}。
        {a}手里有{n}。
        早上，{a}有{n}。
        {a}的袋子里有{n}。
        {a}[找到了|数了数，有]{n}。
        {a}带着{n}回家。
    """),
}
CHANGE: dict[Lang, dict[str, Lines]] = {
    "en": {
        "+": lines("""
            {A_he} [buys|gets|finds] {k} more.
            {b} gives {a_him} {k} more.
            Then {a_he} [receives|is given] {n}.
            {A_he} puts {n} with them.
        """),
        "−": lines("""
            {A_he} gives {k} of them to {b}.
            {A_he} [loses|uses up|sells] {k} of them.
            Then {b} takes {k} away.
            {A_he} gives away {n}.
        """),
        "×": lines("""
            Then {a_he} gets {k} times as many.
            Now there are {k} times as many.
            {b} has {k} times as many, and they swap.
        """),
    },
    "zh": {
        "+": lines("""
            {a_he}又[买了|得到|找到]{n}。
            {b}又给了{a_him}{n}。
            后来{a_he}收到{n}。
            {a_he}再放进{n}。
        """),
        "−": lines("""
            {a_he}给了{b}{n}。
            {a_he}[丢了|用掉|卖掉]{n}。
            然后{b}拿走{n}。
            {a_he}送出去{n}。
        """),
        "×": lines("""
            后来数量变成原来的{k}倍。
            现在的数量是原来的{k}倍。
            {b}有这个数的{k}倍，两个人交换了。
        """),
    },
}
HOW_MANY: dict[Lang, Lines] = {
    "en": lines("""
        How many {things} does {a} have [now|in the end]?
        How many {things} are there [now|in all]?
    """),
    "zh": lines("""
        {a}[现在|最后]有多少{things}？
        [现在|这样]一共有多少{things}？
    """),
}
LEFT: dict[Lang, Lines] = {
    "en": lines("""
        How many {things} does {a} [have now|still have]?
        How many {things} are left [now|in the end]?
    """),
    "zh": lines("""
        {a}[现在有|还有]多少{things}？
        [最后|现在]还剩多少{things}？
    """),
}
NOW_HAS: dict[Lang, Lines] = {
    "en": lines("""
        {A_he} has {n} now.
        So {a} has {n}.
        {A_he} ends up with {n}.
    """),
    "zh": lines("""
        {a_he}现在有{n}。
        所以{a}有{n}。
        {a_he}最后有{n}。
    """),
}
SHORT: dict[Lang, Lines] = {
    "en": lines("""
        What is {sum}? {answer}.
        Question: {sum} = ? Answer: {answer}
        {sum} [is|makes|equals] {answer}.
        {step}
        Q: What is {sum}? A: {step}.
        How much is {sum}? It is {answer}.
        {left} {sign} {right} [is|makes] {answer}.
        What is {left} {sign} {right}? {left} {sign} {right} is {answer}.
    """),
    "zh": lines("""
        {sum}等于几？{answer}。
        问：{sum} = ？答：{answer}
        {sum}[等于|得|是]{answer}。
        {step}
        {sum}是多少？是{answer}。
        [算一算|口算]：{step}。
        {left}{sign}{right}等于{answer}。
        {left}{sign}{right}等于几？等于{answer}。
    """),
}
COUNTING: dict[Lang, dict[int, Lines]] = {
    "en": {
        1: lines("""
            We count: {row}.
            [Count on|Counting up]: {row}.
        """),
        2: lines("""
            Count in twos: {row}.
            Every second number: {row}.
        """),
        -1: lines("""
            Count backwards: {row}.
            Down we go: {row}.
        """),
    },
    "zh": {
        1: lines("""
            我们来数数：{row}。
            [往上数|接着数]：{row}。
        """),
        2: lines("""
            两个两个地数：{row}。
            隔一个数一个：{row}。
        """),
        -1: lines("""
            倒着数：{row}。
            往下数：{row}。
        """),
    },
}
COMPARE: dict[Lang, Lines] = {
    "en": lines("""
        {high} is [more|greater|bigger] than {low}.
        {low} is [less|smaller] than {high}.
        Which is bigger, {low} or {high}? {high} is bigger.
        Which is smaller, {high} or {low}? {low} is smaller.
    """),
    "zh": lines("""
        {high}比{low}大。
        {low}比{high}小。
        {low}和{high}哪个大？{high}大。
        {high}和{low}哪个小？{low}小。
    """),
}
ODD: dict[Lang, Lines] = {
    "en": lines("""
        {value} is an odd number.
        Is {value} odd or even? It is odd.
    """),
    "zh": lines("""
        {value}是单数。
        {value}是单数还是双数？是单数。
    """),
}
EVEN: dict[Lang, Lines] = {
    "en": lines("""
        {value} is an even number.
        Is {value} odd or even? It is even.
    """),
    "zh": lines("""
        {value}是双数。
        {value}是单数还是双数？是双数。
    """),
}
BETWEEN: dict[Lang, Lines] = {
    "en": lines("""
        After {value} comes {after}.
        Before {value} comes {before}.
        {value} stands between {before} and {after}.
    """),
    "zh": lines("""
        {value}后面是{after}。
        {value}前面是{before}。
        {value}在{before}和{after}中间。
    """),
}
SPELL: dict[Lang, Lines] = {
    "en": lines("""
        The number {value} is written "{word}".
        {Word} is {value}.
        We say "{word}" and write {value}.
    """),
    "zh": lines("""
        {value}写成汉字是“{word}”。
        “{word}”就是{value}。
        读作“{word}”，写作{value}。
    """),
}
