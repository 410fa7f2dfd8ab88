"""The words and frames of the sentence pairs: a vocabulary of a few hundred words in both languages."""

from __future__ import annotations

from typing import NamedTuple

from danlu.world.wording import Lang, Lines, lines


class Pair(NamedTuple):
    """The same sentence in both languages."""

    en: str
    zh: str


class Subject(NamedTuple):
    """Who does it; `be` also tells how the verb agrees."""

    en: str
    zh: str
    be: str


class Deed(NamedTuple):
    """A verb with its object, in the forms that the grammar needs."""

    base: str
    third: str
    past: str
    progressive: str
    zh_verb: str
    zh_object: str


def _rows(block: str) -> tuple[tuple[str, ...], ...]:
    """The cells of a table, one row a line, cells divided by a slash."""
    return tuple(tuple(cell.strip() for cell in row.split("/")) for row in block.splitlines() if row.strip())


def _deeds(block: str) -> tuple[Deed, ...]:
    """Verbs with their objects, multiplied out."""
    found: list[Deed] = []
    for row in _rows(block):
        base, third, past_form, progressive_form, verb_zh, objects = row
        for item in objects.split(";"):
            thing, thing_zh = item.split("=")
            plain, he, past, going = (
                f"{form} {thing.strip()}" for form in (base, third, past_form, progressive_form)
            )
            found.append(Deed(plain, he, past, going, verb_zh, thing_zh.strip()))
    return tuple(found)


def _doubles(block: str) -> tuple[tuple[str, str], ...]:
    return tuple((row[0], row[1]) for row in _rows(block))


SUBJECTS: tuple[Subject, ...] = tuple(
    Subject(*row)
    for row in _rows("""
        I / 我 / am
        you / 你 / are
        he / 他 / is
        she / 她 / is
        we / 我们 / are
        they / 他们 / are
        my mother / 我妈妈 / is
        my father / 我爸爸 / is
        her brother / 她哥哥 / is
        his sister / 他姐姐 / is
        the boy / 男孩 / is
        the girl / 女孩 / is
        the children / 孩子们 / are
        the teacher / 老师 / is
        the doctor / 医生 / is
        the farmer / 农夫 / is
        the old man / 老人 / is
        my friend / 我的朋友 / is
        our neighbour / 我们的邻居 / is
    """)
)
DEEDS = _deeds("""
    eat / eats / ate / eating / 吃 / bread=面包; rice=米饭; fish=鱼; an apple=苹果; eggs=鸡蛋; cake=蛋糕
    drink / drinks / drank / drinking / 喝 / tea=茶; water=水; milk=牛奶; soup=汤
    read / reads / read / reading / 读 / a book=书; a letter=信; the newspaper=报纸
    write / writes / wrote / writing / 写 / a letter=信; a story=故事
    buy / buys / bought / buying / 买 / bread=面包; flowers=花; a hat=帽子; fish=鱼; shoes=鞋子
    sell / sells / sold / selling / 卖 / flowers=花; fish=鱼; milk=牛奶; shoes=鞋子
    cook / cooks / cooked / cooking / 煮 / rice=米饭; eggs=鸡蛋; soup=汤
    open / opens / opened / opening / 打开 / the door=门; the window=窗户; the box=盒子
    close / closes / closed / closing / 关上 / the door=门; the window=窗户
    wash / washes / washed / washing / 洗 / the cup=杯子; the clothes=衣服; the car=车
    draw / draws / drew / drawing / 画 / a horse=马; a house=房子; a tree=树; a cat=猫
    sing / sings / sang / singing / 唱 / a song=歌
    plant / plants / planted / planting / 种 / trees=树; flowers=花
    look for / looks for / looked for / looking for / 找 / the key=钥匙; the cat=猫; the dog=狗; a job=工作
    carry / carries / carried / carrying / 搬 / the table=桌子; the chair=椅子; the box=盒子
    help / helps / helped / helping / 帮助 / the old man=老人; the children=孩子们; my friend=我的朋友
    visit / visits / visited / visiting / 看望 / the teacher=老师; my mother=我妈妈; my friend=我的朋友
    feed / feeds / fed / feeding / 喂 / the dog=狗; the cat=猫; the horse=马; the birds=鸟
""")
HABITS: tuple[tuple[str, str], ...] = (
    ("", ""),
    (" every day", "每天"),
    (" every morning", "每天早上"),
    (" every evening", "每天晚上"),
    (" often", "经常"),
    (" at home", "在家"),
    (" in the garden", "在花园里"),
    (" at school", "在学校"),
)
PAST_TIMES = _doubles("""
    yesterday / 昨天
    last night / 昨晚
    this morning / 今天早上
    last week / 上星期
""")
FUTURE_TIMES = _doubles("""
    tomorrow / 明天
    tonight / 今晚
    next week / 下星期
    tomorrow morning / 明天早上
""")
MOODS = _doubles("""
    happy / 高兴
    tired / 累
    busy / 忙
    hungry / 饿
    thirsty / 渴
    kind / 善良
    young / 年轻
    strong / 强壮
    clever / 聪明
    sad / 难过
    tall / 高
    careful / 小心
""")
QUALITIES = _doubles("""
    big / 大
    small / 小
    new / 新
    clean / 干净
    expensive / 贵
    cheap / 便宜
    beautiful / 漂亮
    heavy / 重
    light / 轻
""")
COMPARED = _doubles("""
    bigger / 大
    smaller / 小
    heavier / 重
    lighter / 轻
    cheaper / 便宜
    more beautiful / 漂亮
""")
COLOURS = _doubles("""
    red / 红
    blue / 蓝
    green / 绿
    yellow / 黄
    white / 白
    black / 黑
""")
OWNERS = _doubles("""
    the /
    my / 我的
    your / 你的
    his / 他的
    her / 她的
    our / 我们的
    their / 他们的
    the teacher's / 老师的
    my mother's / 我妈妈的
""")
NUMBERS = _doubles("""
    one / 一
    two / 两
    three / 三
    four / 四
    five / 五
    six / 六
    ten / 十
""")
# Singular / plural / measure word / noun.
NOUNS = _rows("""
    book / books / 本 / 书
    cup / cups / 个 / 杯子
    box / boxes / 个 / 盒子
    chair / chairs / 把 / 椅子
    table / tables / 张 / 桌子
    hat / hats / 顶 / 帽子
    key / keys / 把 / 钥匙
    lamp / lamps / 盏 / 灯
    clock / clocks / 个 / 钟
    bag / bags / 个 / 包
    flower / flowers / 朵 / 花
    tree / trees / 棵 / 树
    apple / apples / 个 / 苹果
    egg / eggs / 个 / 鸡蛋
    boat / boats / 条 / 船
    car / cars / 辆 / 车
    house / houses / 座 / 房子
    dog / dogs / 条 / 狗
    cat / cats / 只 / 猫
    bird / birds / 只 / 鸟
    horse / horses / 匹 / 马
    cow / cows / 头 / 牛
    sheep / sheep / 只 / 羊
""")
WHERE = _doubles("""
    in the garden / 花园里
    in the kitchen / 厨房里
    in the room / 房间里
    in the shop / 商店里
    at the school / 学校里
    at the market / 市场上
    at the station / 车站
    in front of the house / 房子前面
    behind the door / 门后面
    under the tree / 树下
    by the river / 河边
    by the window / 窗边
    on the road / 路上
    on the hill / 山上
""")
FIXED: tuple[Pair, ...] = tuple(
    Pair(*row)
    for row in _rows("""
        Good morning. / 早上好。
        Good evening. / 晚上好。
        Good night. / 晚安。
        Thank you very much. / 非常感谢。
        You are welcome. / 不客气。
        How are you? / 你好吗？
        I am fine. / 我很好。
        See you tomorrow. / 明天见。
        What is your name? / 你叫什么名字？
        Where do you live? / 你住在哪里？
        How old are you? / 你几岁？
        Please sit down. / 请坐。
        Please come in. / 请进。
        Please help me. / 请帮帮我。
        I do not know. / 我不知道。
        I am sorry. / 对不起。
        It is raining today. / 今天下雨。
        It is cold today. / 今天很冷。
        It is hot today. / 今天很热。
        The sun is shining. / 太阳出来了。
        What time is it? / 现在几点？
        How much is it? / 多少钱？
        It is too late. / 太晚了。
        Let us go home. / 我们回家吧。
        I love you. / 我爱你。
        Happy birthday! / 生日快乐！
    """)
)
# A fact as a short sentence: {0} is the name, {1} the value, {2} the value with its article.
FACTS: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {
    ("person", "job"): (("{0} is {2}.", "{0}是{1}。"),),
    ("person", "home"): (("{0} lives in {1}.", "{0}住在{1}。"),),
    ("person", "pet"): (("{0} has {2}.", "{0}养了一只{1}。"),),
    ("person", "favourite_food"): (("{0} likes {1} best.", "{0}最喜欢吃{1}。"),),
    ("person", "favourite_colour"): (("{0} likes {1} best of all colours.", "所有颜色里{0}最喜欢{1}。"),),
    ("person", "age"): (("{0} is {1} years old.", "{0}今年{1}岁。"),),
    ("person", "friend"): (("{1} is a good friend of {0}.", "{1}是{0}的好朋友。"),),
    ("place", "known_for"): (("{0} is known for its {1}.", "{0}以{1}闻名。"),),
    ("place", "river"): (("{0} lies on the {1}.", "{0}在{1}边。"),),
    ("animal", "colour"): (("The {0} is {1}.", "{0}是{1}的。"),),
    ("animal", "diet"): (("The {0} eats {1}.", "{0}吃{1}。"),),
    ("animal", "legs"): (("The {0} has {1} legs.", "{0}有{1}条腿。"),),
    ("food", "taste"): (("{0} tastes {1}.", "{0}的味道是{1}的。"),),
    ("food", "colour"): (("{0} is {1}.", "{0}是{1}的。"),),
    ("food", "ingredient"): (("{0} is made from {1}.", "{0}是用{1}做的。"),),
    ("food", "origin"): (("{0} comes from {1}.", "{0}来自{1}。"),),
    ("thing", "material"): (("The {0} is made of {1}.", "{0}是用{1}做的。"),),
    ("thing", "use"): (("The {0} is used for {1}.", "{0}用来{1}。"),),
    ("thing", "colour"): (("The {0} is {1}.", "{0}是{1}的。"),),
    ("thing", "maker"): (("{1} invented the {0}.", "{1}发明了{0}。"),),
}
FRAMES: dict[Lang, Lines] = {
    "en": lines("""
        In Chinese, "{en}" is "{zh}"
        "{en}" [in Chinese is|in Chinese:] "{zh}"
        "{zh}" means "{en}"
        The Chinese for "{en}" is "{zh}"
        How do you say "{en}" in Chinese? [You say|One says] "{zh}"
        What does "{zh}" mean in English? It means "{en}"
        Translate into Chinese: {en} [Answer:|Translation:] {zh}
        Translate into English: {zh} [Answer:|Translation:] {en}
        To say "{en}", a Chinese speaker says "{zh}"
        The sentence "{zh}" [is translated as|becomes] "{en}"
        "{en}" becomes "{zh}" in Chinese.
    """),
    "zh": lines("""
        “{zh}”用英语说是“{en}”
        “{zh}”的英文是“{en}”
        “{en}”的意思是“{zh}”
        英语的“{en}”就是中文的“{zh}”
        “{en}”用中文怎么说？[可以说|应该说]“{zh}”
        “{zh}”用英语怎么说？[可以说|应该说]“{en}”
        把“{zh}”翻译成英语：{en}
        把“{en}”翻译成中文：{zh}
        翻译成英文：{zh} [答案：|译文：]{en}
        翻译成中文：{en} [答案：|译文：]{zh}
        英国人说“{en}”，中国人说“{zh}”
    """),
}
LABELS = (
    ("English: ", "Chinese: ", "\n"),
    ("English: ", "中文：", " / "),
    ("英文：", "中文：", "\n"),
    ("英语：", "汉语：", "  "),
    ("EN: ", "ZH: ", "\n"),
    ("", "", "\n"),
)
HEADINGS: dict[Lang, Lines] = {
    "en": lines("""
        [Sentences|Short sentences|Everyday sentences] in two languages
        English and Chinese [side by side|together]
        Lesson [one|two|three|four|five]: [new sentences|at home|in town|every day]
        [Read|Learn|Copy] these sentences.
        From a phrase book
    """),
    "zh": lines("""
        [句子|短句|日常句子]对照
        中英文对照
        第[一|二|三|四|五]课：[新句子|在家里|在城里|每一天]
        [读一读|学一学|抄一抄]这些句子。
        摘自会话手册
    """),
}
PARAGRAPHS: dict[Lang, Lines] = {
    "en": lines("""
        {en}/In Chinese this is:/{zh}
        {zh}/In English this is:/{en}
        English text: {en}/Chinese text: {zh}
        First in Chinese: {zh}/And now in English: {en}
    """),
    "zh": lines("""
        {zh}/用英语说就是：/{en}
        {en}/用中文说就是：/{zh}
        中文：{zh}/英文：{en}
        先看英文：{en}/再看中文：{zh}
    """),
}
WORDS: dict[Lang, tuple[str, ...]] = {
    "en": ('"{zh}" is the Chinese word for {en}.', "{en} = {zh}", 'The word "{en}" is "{zh}" in Chinese.'),
    "zh": ("{zh}的英文是{en}。", "{zh} = {en}", "英语单词{en}的意思是{zh}。"),
}
