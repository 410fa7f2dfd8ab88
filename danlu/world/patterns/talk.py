"""What people say to each other: exchanges of a line and its reply, in the order of a scene.

A scene's steps are numbered; of each step one exchange is said. `{a}` speaks first, `{b}` replies.
"""

from __future__ import annotations

from danlu.world.wording import Lang, lines, sections

EN = sections("""
= greet
[Hello|Good morning|Good day], {b_1}. / [Hello|Good morning|Good day], {a_1}.
[Hi|Hello] {b_1}, how are you? / [Fine|Very well|Not bad], thank you. [And you?|What about you?]
{b_1}! [Is that you?|You are here!] / Yes, it is me. [How nice to see you.|Hello {a_1}!]
= bye
[Goodbye|See you tomorrow|See you soon], {b_1}. / [Goodbye|See you|Take care], {a_1}.
I have to go now. / [All right|Good]. See you [tomorrow|next week].
Thank you for your help. / You are welcome. [Goodbye.|Come again.]
= market 1
What do you want for the {product}? / [Two|Three|Four] coins [a piece|a pound]. It comes from {place}.
Do you have any {product}? / Yes, [of course|plenty]. It came from {place} this morning.
I am looking for good {product}. / Then look here. Nobody has better {product} than {place}.
= market 2
That is [too much|a lot] for me. / [Then I will give you a better price.|All right, one coin less.]
Is it fresh? / [Yes, it came today.|You can try it first.]
Can I [try|see] it first? / [Please do.|Of course, here you are.]
= market 3
Good, I will take [two|three]. / Here you are. [Anything else?|Do you need a bag?]
I will think about it. / [No problem.|Take your time.] I am here until [six|noon].
Then give me one, please. / [With pleasure.|Thank you.] Have a nice day.
= way 1
Excuse me, how do I get to {place}? / [Follow the {river}|Go along the {river}], then you cannot miss it.
Is this the [road|way] to {place}? / [Yes, go straight on.|No, you must turn left at the mill.]
How far is it to {place}? / It is [two|three|five] hours on foot.
= way 2
Is there a [boat|bus|cart] that goes there? / Yes, [every morning|at nine|at noon] from the bridge.
What can I see there? / {place} is a {place_sort} known for its {product}.
Is {place} a big place? / It is a {place_sort} on the {river}.
= plan 1
Are you free on [Monday|Friday|Sunday]? / I have time [in the afternoon|after work]. Why?
Shall we [go for a walk|have tea together|go fishing] tomorrow? / [Yes, gladly.|I would love to.]
There is a [feast|concert|market] on [Saturday|Sunday]. Will you come? / [I think so.|If it does not rain.]
= plan 2
Let us meet at [three|four|five] o'clock. / [Good|Fine], at the [bridge|well|market], then.
I will come to your house at [two|six]. / [Very well|Good], I will be [ready|at home].
What shall I bring? / Bring [some {food}|your {a_instrument}|a warm coat], please.
= plan 3
And if it rains? / Then we [stay at home and play cards|meet next week].
Can I bring a friend? / Of course. The more, the better.
Don't be late! / I am never late. [Well, almost never.|You know that.]
= feel 1
You look [sad|tired|worried]. What is the matter? / I [lost my key|slept badly|had a quarrel].
You look [happy|so cheerful] today. Why? / [My cousin is coming.|I found my ring again.|My work is done.]
Why are you [laughing|smiling]? / Because my {b_pet} [sat in the soup|stole my hat|fell asleep in the bath].
= feel 2
Can I [help you|do something for you]? / [That is kind of you|Thank you], I feel better already.
I [understand|know how that is]. / Thank you for listening.
That is [good news|wonderful]! / Yes, [I am so glad|I could sing].
= wrong 1
Let us take some apples from that garden. / No, that is stealing. I won't do it.
Come on, let us tell {c} a lie. / No, I won't lie. It would hurt {c}.
Help me [break this lock|read her letters]. / No, I can't help with that. It is wrong.
Shall we [throw stones at the dog|make fun of the new boy]? / No. That is cruel, and I won't do it.
= wrong 2
Why not? It is only a joke. / It is not [funny|fair]. Let us [ask first|play something else] instead.
You are no fun. / Maybe. But I can help you [earn some money|bake a cake|write a friendly letter] instead.
What should I do then? / [Ask politely.|Say that you are sorry.] I will come with you.
= food 1
What shall we [eat|cook] tonight? / How about {food}? It tastes {taste}.
Have you ever eaten {food}? / Yes, in {origin}, where it comes from.
I am hungry. / There is some {food} in the kitchen.
= food 2
What is it made from? / It is made from {ingredient}.
What do we need for it? / Above all {ingredient}.
What does it look like? / It is {food_colour}.
= thing 1
What is that? / That is {a_thing}. It is used for {use}.
Can you lend me your {thing}? / Yes, but be careful with it.
What do you need the {thing} for? / For {use}.
= thing 2
What is it made of? / It is made of {material}.
What colour is it? / It is {thing_colour}.
Who invented it? / It was invented by {maker}.
""")
ZH = sections("""
= greet
[你好|早上好|下午好]，{b_1}。 / [你好|早上好|你也好]，{a_1}。
{b_1}，[你好吗|最近怎么样]？ / [很好|还不错]，谢谢。[你呢？|你怎么样？]
{b_1}！[是你吗？|你也在这儿！] / 是我呀。[真高兴见到你。|你好，{a_1}！]
= bye
[再见|明天见|回头见]，{b_1}。 / [再见|明天见|慢走]，{a_1}。
我该走了。 / 好的，[明天|下星期]见。
谢谢你的帮忙。 / 不客气，[再见|下次再来]。
= market 1
[今天|这个星期]的{product}怎么卖？ / [两|三|四]块钱一[个|斤]，是{place}来的。
你这里有{product}吗？ / 有，[多的是|当然有]，今天早上刚从{place}运来。
我想买好一点的{product}。 / 那就看看这个，{place}的{product}最好。
= market 2
[太贵了|有点贵]。 / [那我给你便宜点|好吧，少一块钱]。
新鲜吗？ / [新鲜，今天刚到的|你可以先尝尝]。
我能先[看看|试试]吗？ / [请便|当然可以，给你]。
= market 3
好，我要[两|三]个。 / 给你。[还要别的吗？|要袋子吗？]
我再想想。 / [没关系|不着急]，我在这里待到[六点|中午]。
那就给我一个吧。 / [好的|谢谢]，祝你愉快。
= way 1
请问，去{place}怎么走？ / [沿着{river}走|顺着{river}一直走]，就到了。
这是去{place}的路吗？ / [是的，一直往前走|不是，要在磨坊那里往左拐]。
到{place}有多远？ / 走路要[两|三|五]个小时。
= way 2
有[船|车]到那里吗？ / 有，[每天早上|九点钟|中午]从桥边开。
那里有什么好看的？ / {place}是一座{place_sort}，以{product}闻名。
{place}大吗？ / 那是{river}边上的一座{place_sort}。
= plan 1
[星期一|星期五|星期天]你[有空吗|做什么]？ / [没什么事|下午有空]，怎么了？
明天一起去[散步|喝茶|钓鱼]好不好？ / [好啊|太好了]。
[星期六|星期天]有[庙会|音乐会|集市]，你去吗？ / [去吧|不下雨就去]。
= plan 2
[三|四|五]点见吧。 / [好|可以]，就在[桥头|井边|市场]见。
我[两点|六点]到你家。 / 好，我[等你|在家]。
要我带点什么？ / 带[一点{food}|你的乐器|一件厚衣服]来吧。
= plan 3
要是下雨呢？ / 那就[在家打牌|下星期再见]。
我能带一个朋友吗？ / 当然，人多热闹。
别迟到啊！ / 我从来不迟到，[几乎从来不|你知道的]。
= feel 1
你看起来[很难过|很累|有心事]，怎么了？ / 我[丢了钥匙|没睡好|和邻居吵架了]。
你今天怎么这么[高兴|开心]？ / [我表哥要来了|我的戒指找到了|活都干完了]。
你[笑|乐]什么呢？ / 我家的{b_pet}[坐到汤里去了|偷了我的帽子|在澡盆里睡着了]。
= feel 2
我能[帮你|为你做点什么]吗？ / [你真好|谢谢]，[会好的|我已经好多了]。
我[明白|知道那种感觉]。 / 谢谢你听我说。
[真是好消息|太好了]！ / 是啊，[我真高兴|我都想唱歌了]。
= wrong 1
我们去[那个园子里拿几个苹果|偷偷坐船，不买票]吧，没有人看见。 / 不行，那是偷，我不干。
来，我们骗骗{c}。 / 不，我不说谎，这样会伤害{c}。
帮我[把这把锁弄坏|偷看她的信]。 / 不行，这件事我不能帮忙，这样不对。
我们[拿石头扔那条狗|笑话那个新来的男孩]吧。 / 不行，这太残忍了，我不干。
= wrong 2
为什么？只是开个玩笑。 / 对别人来说[不好笑|不公平]。我们还是[先问一声|玩别的]吧。
你真没意思。 / 也许吧。不过我可以帮你[挣点钱|烤个蛋糕|写一封友好的信]。
那我该怎么办？ / [好好地问|说一声对不起]，我陪你去。
= food 1
今晚[吃什么|做什么吃]？ / {food}怎么样？味道是{taste}的。
你吃过{food}吗？ / 吃过，在{origin}吃的，那里就是它的产地。
我饿了。 / 厨房里有{food}。
= food 2
是用什么做的？ / 是用{ingredient}做的。
做它需要什么？ / 最要紧的是{ingredient}。
它是什么样子的？ / 它是{food_colour}的。
= thing 1
那是什么？ / 那是{thing}，用来{use}的。
你的{thing}能借我用用吗？ / 可以，不过要小心。
你要{thing}做什么？ / 用来{use}。
= thing 2
它是用什么做的？ / 是用{material}做的。
它是什么颜色的？ / 它是{thing_colour}的。
是谁发明的？ / 是{maker}发明的。
""")
KNOW = {
    "en": lines("""
        Do you know {x}?
        Have you heard of {x}?
        Tell me something about {x}.
        I want to know more about {x}.
        Who or what is {x}?
        What do you know about {x}?
    """),
    "zh": lines("""
        你知道{x}吗？
        你听说过{x}吗？
        给我讲讲{x}吧。
        我想多了解一点{x}。
        {x}是什么？
        关于{x}，你知道些什么？
    """),
}
KNOW_PERSON = {
    "en": lines("""
        Do you know {x}?
        Have you heard of {x}?
        Tell me something about {x}.
        Who is {x}?
        I would like to know more about {x}.
        What do you know about {x}?
    """),
    "zh": lines("""
        你认识{x}吗？
        你听说过{x}吗？
        给我讲讲{x}吧。
        {x}是谁？
        我想多了解一点{x}。
        关于{x}，你知道些什么？
    """),
}
YES = {
    "en": lines("""
        Of course. {said}
        A little. {said}
        {said}
        Let me think. {said}
        What I know is this. {said}
    """),
    "zh": lines("""
        当然。{said}
        知道一点。{said}
        {said}
        我想想。{said}
        我知道的是这些。{said}
    """),
}
AND = {
    "en": lines("""
        And {question}
        {Question}
        I see. {Question}
        Good to know. {Question}
    """),
    "zh": lines("""
        那{question}
        {Question}
        原来是这样。{Question}
        知道了。{Question}
    """),
}
NEVER_HEARD = {
    "en": lines("""
        I have never heard of {x}.
        I do not know. I have never heard of {x}.
        I am sorry, I do not know {x}.
        Nobody here knows {x}. [Are you sure that the name is right?|I cannot tell you anything.]
        {x}? I do not know that name.
    """),
    "zh": lines("""
        我没听说过{x}。
        没听说过。我不知道{x}。
        我不知道，我没听说过{x}。
        对不起，我不知道{x}。
        这里没有人知道{x}。[名字没记错吗？|我没法告诉你。]
        {x}？我不知道这个名字。
    """),
}
TELL_NEW = {
    "en": lines("""
        I met somebody new [today|yesterday]: {x}. {said}
        We have a new neighbour, {x}. {said}
        There was a guest at the inn, {x}. {said}
        Let me tell you about {x}. {said}
    """),
    "zh": lines("""
        我[今天|昨天]认识了一个人，叫{x}。{said}
        我们来了一位新邻居，叫{x}。{said}
        饭馆里来了一位客人，叫{x}。{said}
        我给你讲讲{x}吧。{said}
    """),
}
AGAIN = {
    "en": lines("""
        [Sorry, I forgot.|Wait.] {question}
        Let me see if I got it right. {question}
        {question}
        Tell me again: {question}
    """),
    "zh": lines("""
        [对不起，我忘了。|等一下。]{question}
        我看看记对了没有。{question}
        {question}
        再说一遍，{question}
    """),
}
SAID: dict[Lang, tuple[str, ...]] = {
    "en": ('"{line}" said {who}.', '"{line}" {who} said.', '{who} said, "{line}"', '{who}: "{line}"'),
    "zh": ("“{line}”{who}说。", "{who}说：“{line}”", "“{line}”说话的是{who}。", "{who}开口说：“{line}”"),
}
THANKS: dict[Lang, tuple[str, ...]] = {
    "en": ("Thank you.", "Good, thank you.", "Now I know.", "That is interesting.", "Thanks, that is all."),
    "zh": ("谢谢。", "好的，谢谢。", "我明白了。", "真有意思。", "谢谢，就问这些。"),
}
