"""What people of the world say when they liked something of it, and when they did not."""

from __future__ import annotations

from danlu.world.wording import sections

EN = sections("""
= food open
[Yesterday|On Sunday|Last week] I had {food} at the [inn|café] in {a_home}.
We [ordered|tried] {food} for [lunch|supper].
We had {food} at the [new restaurant|old inn] by the bridge.
At the [fair|station] I ordered {food}.
{food}, which comes from {origin}, was on the [card|table] again.
= food good
It was [warm, fresh and delicious|simply wonderful].
I [ate everything|could not stop eating|asked for a second plate].
You can [smell|taste] the {ingredient}, and it is [lovely|very good].
It tastes {taste}, just as it should, and I [love|like] that.
The cook knows what [he|she] is doing.
Even my [old aunt|small brother] was happy, and that says a lot.
= food bad
It was [cold|burnt|hard as stone] and came far too late.
I left [half of it|most of it] on the plate.
There was hardly any {ingredient} in it. [What a shame!|That is cheating.]
My stomach [hurt|was bad] the whole night.
The soup at the prison must be better than this.
I paid a lot and went home [hungry|angry].
= place open
I spent [two days|a week|the weekend] in {place}, the {place_sort} on the {river}.
[Last month|In spring|This summer] we went to {place}.
My [wife|husband|friend] and I visited {place} because of its {product}.
Everybody talks about {place}, so I went to see it.
= place good
The people are [friendly|helpful] and the streets are clean.
We bought the best {product} of our lives there.
The view over the {river} is [beautiful|like a painting].
Our bed was soft and the breakfast was [large|very good].
I did not want to [leave|go home].
Every corner has something [nice|new] to see.
= place bad
The streets were [dirty|noisy] and nobody smiled.
The {product} was [old|too expensive], and the seller laughed at us.
It smelled [bad|of fish] everywhere, even at the {river}.
Our room was [cold|full of flies] and the bed was broken.
We [left|went home] a day early.
There is nothing to do there, and it takes hours to see it.
= thing open
I [bought|got] {a_thing} for {use} [last month|a year ago].
My {thing} came [yesterday|on Monday].
I have [used|had] this {thing} for [three weeks|a month] now.
{a} told me to buy {a_thing}, so I did.
= thing good
For {use} there is nothing better.
It [works|has worked] without a single problem.
The {material} is strong, and the {thing_colour} colour is pretty.
It saves me [an hour|a lot of work] every day.
My neighbours want [one too|to borrow it all the time].
It was cheap and it is [good|well made].
= thing bad
After [two days|one hour] it was broken.
The {material} [cracked|came apart] at once.
It is no use for {use} at all.
It makes a terrible noise and [gets hot|smells bad].
I asked for my money back, and nobody answered.
It is [too heavy|badly made], and the colour comes off.
= show open
We saw {a} play the {a_instrument} in {a_home} [last night|on Saturday].
[Last week|On Friday] {a} gave a concert in {a_home}.
I went to hear {a}, who plays the {a_instrument}.
= show good
The whole [room|square] sang along.
I had tears in my eyes, so beautiful was it.
Two hours went by like [five minutes|nothing].
At the end everyone stood up and clapped.
I have never heard [anything so fine|such music].
= show bad
Half of the people left [before the end|in the break].
It was much too loud, and nothing was in tune.
I looked at the clock every two minutes.
The seats were hard, the tickets were dear and the music was dull.
I have [never been so bored|seldom heard anything so bad].
= good end
I would [buy|choose|do] it again [at once|any time].
I [recommend it to everyone|can only recommend it].
[Five stars|Full marks] from me.
I am very [happy|pleased] with it.
Thank you for this [good|wonderful] time!
Try it yourself!
= bad end
I would not [buy|choose|do] it again.
[Never again!|Once and never again.]
I can recommend it to nobody.
One star, and that is [one too many|too much].
Keep your money.
I am [very|deeply] disappointed.
= good mixed
It was not cheap, but
I did not expect much, but
Some people see it differently, but
= bad mixed
I had hoped for more, but
My friends like it, but
It was cheap, but
""")
ZH = sections("""
= food open
[昨天|星期天|上个星期]我在{a_home}的[饭馆|小店]吃了{food}。
[午饭|晚饭]我们[点|尝]了{food}。
我们在桥边的[新饭馆|老店]吃了{food}。
我在[庙会上|车站]点了一份{food}。
[菜单|桌子]上又有{food}了，它的产地是{origin}。
= food good
[又热又新鲜，好吃极了|真是太好吃了]。
我[吃得一点不剩|吃得停不下来|又要了一盘]。
里面的{ingredient}[闻着就香|味道真好]，我很喜欢。
味道是{taste}的，就该是这样，我很[喜欢|满意]。
厨师的手艺真[好|不错]。
连我[爱挑剔的姨妈|最小的弟弟]都说好。
= food bad
[冷了|糊了|硬得像石头]，还让人等了半天。
我剩了[一半|一大半]在盘子里。
里面几乎没有{ingredient}，[太可惜了|这不是骗人吗]。
我的肚子[疼|难受]了一整夜。
监狱里的饭也比这个好吃。
花了很多钱，却[饿着肚子|一肚子气]回家。
= place open
我在{place}住了[两天|一个星期]，那是{river}边上的一座{place_sort}。
[上个月|春天|今年夏天]我们去了{place}。
我和[妻子|丈夫|朋友]为了那里的{product}去了{place}。
人人都在说{place}，我也去看了看。
= place good
那里的人很[友好|热心]，街道也干净。
我们买到了这辈子见过的最好的{product}。
{river}的景色[很美|像画一样]。
床很软，早饭也[很丰盛|很好吃]。
我真不想[走|回家]。
每个角落都有[好看的|新鲜的]东西。
= place bad
街上[很脏|太吵]，谁也不笑一笑。
{product}[不新鲜|太贵]，卖东西的人还笑话我们。
到处都有一股[怪味|鱼腥味]，连{river}边也是。
房间[很冷|都是苍蝇]，床还是坏的。
我们提前一天就[走|回家]了。
那里没什么可看的，路还远得要命。
= thing open
[上个月|一年前]我[买了|收到]一个用来{use}的{thing}。
我的{thing}是[昨天|星期一]送到的。
这个{thing}我已经用了[三个星期|一个月]。
{a}劝我买{thing}，我就买了。
= thing good
用来{use}，没有比它更好的了。
[用到现在|从第一天起]，一点毛病也没有。
{material}很结实，{thing_colour}也很好看。
它每天给我省下[一个小时|不少力气]。
邻居们[也都想要一个|老来借]。
又便宜又[好用|做得好]。
= thing bad
才用了[两天|一个小时]就坏了。
{material}马上就[裂了|散了]。
用来{use}，一点用也没有。
声音大得吓人，还[发烫|有怪味]。
我要求退钱，没有人理我。
[太重了|做得很差]，还掉颜色。
= show open
[昨晚|星期六]我们在{a_home}听{a}{a_instrument}。
[上个星期|星期五]{a}在{a_home}开了一场音乐会。
我去听了{a}的音乐会，{a_he}是{a_instrument}的。
= show good
全[场|广场]的人都跟着唱。
美得让我流下了眼泪。
两个小时[像五分钟一样|一下子]就过去了。
最后大家都站起来拍手。
我从没听过[这么好的|这样的]音乐。
= show bad
一半人[没听完|中场]就走了。
声音太吵，没有一个音是准的。
我每两分钟就看一次钟。
座位硬，票又贵，音乐也没意思。
我[从来没有这么无聊过|很少听到这么差的]。
= good end
[下次|以后]我还会再[买|来|选]。
我[推荐给大家|一定要推荐]。
我给[五颗星|满分]。
我非常[满意|高兴]。
谢谢这段[美好的|快乐的]时光！
你也来试试吧！
= bad end
我不会再[买|来|选]了。
[再也不要了！|一次就够了，没有下次。]
我谁也不推荐。
一颗星，还嫌[多|太多]。
把钱留着吧。
我[非常|特别]失望。
= good mixed
虽然不便宜，可是
本来没抱什么希望，不过
别人怎么说我不管，
= bad mixed
本来很期待，可是
朋友们都说好，可是
虽然便宜，可是
""")
LABELS = {
    "en": (
        ("Verdict: positive", "Verdict: negative"),
        ("This review is positive.", "This review is negative."),
        ("Tone: positive.", "Tone: negative."),
        (
            "Is this review positive or negative? It is positive.",
            "Is this review positive or negative? It is negative.",
        ),
        ("Opinion: positive", "Opinion: negative"),
        (
            "The writer was happy, so the review is positive.",
            "The writer was unhappy, so the review is negative.",
        ),
    ),
    "zh": (
        ("评价：正面", "评价：负面"),
        ("这条评论是正面的。", "这条评论是负面的。"),
        ("语气：正面。", "语气：负面。"),
        ("这条评论是正面的还是负面的？是正面的。", "这条评论是正面的还是负面的？是负面的。"),
        ("结论：正面", "结论：负面"),
        ("写的人很满意，所以是正面的。", "写的人不满意，所以是负面的。"),
    ),
}
HEADS = {
    "en": (
        "Review: ",
        "A guest writes: ",
        "Opinion of the day. ",
        "From the guest book: ",
        "Letter to the editor: ",
    ),
    "zh": ("评论：", "一位客人写道：", "摘自留言簿：", "读者来信："),
}
