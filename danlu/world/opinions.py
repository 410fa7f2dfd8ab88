"""What people say of things they liked or did not: the sentences that reviews are made of."""

from __future__ import annotations

from danlu.world.names import Lang
from danlu.world.wording import Lines, lines, words

REVIEWED: dict[Lang, dict[str, tuple[str, ...]]] = {
    "en": {
        "food": words("soup, cake, bread, porridge, cheese, pie"),
        "house": words("hotel, restaurant, shop, market, café, museum"),
        "story": words("book, film, play, story, novel, movie"),
        "thing": words("lamp, coat, bag, chair, clock, hat"),
    },
    "zh": {
        "food": words("这里的汤, 这里的蛋糕, 这里的面包, 这里的粥, 这里的奶酪, 这里的饼"),
        "house": words("这家旅馆, 这家饭馆, 这家商店, 这个市场, 这家咖啡馆, 这座博物馆"),
        "story": words("这本书, 这部电影, 这场戏, 这个故事, 这本小说, 这部片子"),
        "thing": words("这盏台灯, 这件外套, 这个包, 这把椅子, 这座钟, 这顶帽子"),
    },
}
OPENINGS: dict[Lang, dict[str, Lines]] = {
    "en": {
        "food": lines("[Yesterday|Today|On Sunday] I tried the {it}.\nWe ordered the {it}."),
        "house": lines(
            "We went to this {it} [last week|on Sunday].\nI visited this {it} with my [sister|friend]."
        ),
        "story": lines("I finished this {it} [last night|yesterday].\nA friend told me about this {it}."),
        "thing": lines("I bought this {it} [last week|in spring].\nMy [brother|aunt] gave me this {it}."),
    },
    "zh": {
        "food": lines("[昨天|今天|星期天]我尝了{it}。\n我们点了{it}。"),
        "house": lines("[上星期|星期天]我们去了{it}。\n我和[姐姐|朋友]去了{it}。"),
        "story": lines("[昨晚|昨天]我看完了{it}。\n朋友向我推荐了{it}。"),
        "thing": lines("[上星期|春天的时候]我买了{it}。\n[哥哥|阿姨]送了我{it}。"),
    },
}
PRAISE: dict[Lang, dict[str, tuple[str, ...]]] = {
    "en": {
        "food": words("""
            The {it} was delicious.
            It tasted wonderful.
            It was fresh and warm.
            I asked for more.
            I have never eaten better.
            Everybody at the table loved it.
        """),
        "house": words("""
            The people were kind and helpful.
            The rooms were clean and bright.
            Everything was cheap and good.
            We felt at home at once.
            We will come back soon.
            The {it} is the best in town.
        """),
        "story": words("""
            I could not put it down.
            It made me laugh and cry.
            The ending was beautiful.
            I enjoyed every minute.
            It is full of good ideas.
            I want to enjoy it again.
        """),
        "thing": words("""
            It works very well.
            It is strong and beautiful.
            It was worth every coin.
            I use it every day with joy.
            The {it} looks even better at home.
            I would buy it again.
        """),
    },
    "zh": {
        "food": words("""
            {it}非常好吃。
            味道好极了。
            又新鲜又热乎。
            我还想再来一份。
            我从没吃过这么好的。
            一桌人都很喜欢。
        """),
        "house": words("""
            这里的人热情又周到。
            里面干净又明亮。
            东西又好又便宜。
            一进门就像回到了家。
            我们很快还会再来。
            {it}是城里最好的。
        """),
        "story": words("""
            我一开始就停不下来。
            它让我又哭又笑。
            结尾写得很美。
            每一分钟都很享受。
            里面有很多好想法。
            我还想再欣赏一遍。
        """),
        "thing": words("""
            用起来非常好。
            又结实又漂亮。
            这钱花得很值。
            我每天都高高兴兴地用它。
            {it}放在家里更好看。
            我还会再买。
        """),
    },
}
BLAME: dict[Lang, dict[str, tuple[str, ...]]] = {
    "en": {
        "food": words("""
            The {it} was cold and hard.
            It tasted terrible.
            It was old and far too salty.
            I could not finish it.
            I have never eaten worse.
            Nobody at the table liked it.
        """),
        "house": words("""
            The people were rude and slow.
            The rooms were dirty and dark.
            Everything was expensive and bad.
            We wanted to leave at once.
            We will never come back.
            The {it} is the worst in town.
        """),
        "story": words("""
            I fell asleep after ten minutes.
            It was long and boring.
            The ending made no sense.
            I was sorry for the lost time.
            There is not one good idea in it.
            I gave up in the middle.
        """),
        "thing": words("""
            It broke after one day.
            It is weak and ugly.
            It was a waste of money.
            I threw it away.
            The {it} was broken when it came.
            I would never buy it again.
        """),
    },
    "zh": {
        "food": words("""
            {it}又冷又硬。
            味道糟透了。
            不新鲜，还咸得要命。
            我根本吃不完。
            我从没吃过这么差的。
            一桌人没有一个喜欢。
        """),
        "house": words("""
            这里的人又粗鲁又慢。
            里面又脏又暗。
            东西又贵又差。
            我们一进去就想走。
            我们再也不会来了。
            {it}是城里最差的。
        """),
        "story": words("""
            才十分钟我就睡着了。
            又长又无聊。
            结尾让人莫名其妙。
            真后悔花了这个时间。
            里面没有一个好想法。
            看到一半我就放弃了。
        """),
        "thing": words("""
            用了一天就坏了。
            又不结实又难看。
            钱白花了。
            我把它扔掉了。
            {it}送到时就是破的。
            我再也不会买了。
        """),
    },
}
VERDICTS: dict[Lang, dict[bool, tuple[str, ...]]] = {
    "en": {
        True: ("I am very happy with it.", "I recommend it to everyone.", "Thank you, well done!"),
        False: ("I am very unhappy with it.", "I recommend it to nobody.", "Never again!"),
    },
    "zh": {
        True: ("我非常满意。", "我推荐给所有人。", "谢谢，做得真好！"),
        False: ("我非常不满意。", "我谁也不推荐。", "再也不要了！"),
    },
}
