"""What people of the world write to each other, part by part; `{a}` writes and `{b}` reads."""

from __future__ import annotations

from danlu.world.wording import sections

EN = sections("""
= greeting
Dear {b_1},
[Hello|Hi|Good morning] {b_1},
My dear {b_1},
Dear [old friend|friend],
= open
Thank you for your [letter|kind letter|last letter]. It [came|arrived] [yesterday|this morning].
How are you? [I hope you are well.|I often think of you.]
It has been a [long time|whole month] since my last letter, and I am sorry.
I am writing to you from {a_home}, where I live.
[Guess what happened|Listen to this]! I [must|have to] tell you at once.
I have [a little|half an hour of] time [tonight|today], so here is a letter.
Your [card|letter] made me [laugh|smile|very happy].
= weather
The weather in {a_home} is [fine|cold|wet|lovely] [this week|today].
It has been raining for [two|three|four] days here.
We have [snow|sun|wind] [in {a_home}|here], and the streets are [white|empty|full of people].
The [trees|gardens] are [green|full of flowers] [again|now].
It is so [hot|cold] that nobody goes out.
= news
I still work as {a_a_job}, and there is [a lot|not much] to do [this month|at the moment].
As {a_a_job} I [get up early|am always on my feet|meet many people].
My {a_pet} is [well|fat and happy|a little ill] and sleeps [by the stove|on my bed|all day].
I have taught my {a_pet} to [sit|wait|come when I call]. It is a clever animal.
In the evening I play the {a_instrument}. [The neighbours do not mind.|I am getting better.]
I played the {a_instrument} at a [wedding|feast] last week, and everyone danced.
Yesterday I cooked {a_food}, my favourite food. [It was very good.|I ate too much of it.]
[On Sunday|Last night] there was {a_food} for supper, and you know that I like nothing better.
I painted my [door|kitchen|room] {a_colour}, because {a_colour} is my favourite colour.
I bought a {a_colour} [hat|coat] at the market. You know that I love this colour.
I am {a_age} years old now, but I [feel young|still climb trees|do not feel it].
Do you remember the {thing} that is used for {use}? I [bought|found] one [yesterday|at the market].
I saw {an_animal} on the way home. It was {animal_colour}, as they all are.
Somebody brought me {food} from {origin}. It is made from {ingredient} and tastes {taste}.
I went to {place} and bought some {product}, because the {place_sort} is known for it.
The [roof|window|bridge] is broken again, and I have to repair it.
I am learning to [swim|dance|bake bread]. It is [hard|fun|harder than I thought].
I have read a good book about a [sailor|king|clever fox].
My [cousin|aunt|brother] came to see me and stayed for [a week|three days].
I lost my [key|hat|ring] and found it again in the [garden|soup pot|flour].
= ask
How are you, and what are you doing these days?
When will you come to {a_home}?
Have you [finished|started] your work in the garden?
Do you still [get up so early|walk in the hills every day]?
Could you send me [some seeds|a good book|a picture]?
What is new [with you|in your street]?
= other
How is your {b_pet}? [Does it still eat so much?|Give it something good from me.]
Do you still live in {b_home}? [I would love to see it.|I have never been there.]
Are you still [working as|busy as] {b_a_job}?
Do you still play the {b_instrument} every evening?
= wish
Please come and see me soon. There is always a bed for you.
Let us meet [next week|on Sunday|in spring] and [drink tea|take a walk|talk] for a whole day.
Write soon and tell me everything.
Stay well, and do not work too hard.
I am looking forward to your answer.
I must stop now, because [the lamp is going out|it is late|somebody is at the door].
Give my love to [everyone|your family].
= close
Yours, {a_1}
[Best wishes|Kind regards|Love], {a}
Your friend {a}
[Until soon|Goodbye for now], {a_1}
With [love|warm wishes] from {a_home}, {a}
""")
ZH = sections("""
= greeting
亲爱的{b_1}：
{b_1}，你好！
{b_1}：[好久不见|见信好]！
[老朋友|好朋友]{b_1}：
= open
谢谢你的来信，[昨天|今天早上]收到了。
你[最近好吗|身体好吗|过得怎么样]？我常常[想起你|念叨你]。
[很久|一个月]没有给你写信了，真对不起。
我在{a_home}给你写这封信，你知道我就住在这里。
告诉你一件[新鲜事|好玩的事]！
[今晚|今天]有一点空，就给你写几句。
你的[卡片|信]让我[笑了半天|特别高兴]。
= weather
{a_home}这几天天气[很好|很冷|很潮|好极了]。
这里已经下了[两|三|四]天雨了。
[{a_home}|这里][下雪了|出太阳了|刮大风了]，街上[白茫茫的|没有人|到处是人]。
[树|园子]又[绿了|开满了花]。
天[热|冷]得谁也不想出门。
= news
我还是做{a_job}，[这个月|最近]活[很多|不多]。
做{a_job}，[天天都要早起|一天到晚站着|能认识不少人]。
我养的{a_pet}[很好|又胖又高兴|有点不舒服]，[总在炉子边睡觉|总睡在我床上|一天到晚睡]。
我教会了我家的{a_pet}[坐下|等着|一叫就来]，它很聪明。
晚上我常常{a_instrument}，[邻居们也不嫌吵|越来越好了]。
上个星期有人[结婚|过节]，我去{a_instrument}，大家都跳起舞来。
昨天我做了{a_food}，那是我最爱吃的，[味道好极了|我吃得太多了]。
[星期天|昨晚]吃了{a_food}，你知道我最爱吃这个。
我把[门|厨房|房间]漆成了{a_colour}，因为我最喜欢{a_colour}。
我在市场上买了一[顶{a_colour}的帽子|件{a_colour}的外衣]，你知道我最喜欢这个颜色。
我今年{a_age}岁了，可是[觉得自己还年轻|还能爬树|一点也不觉得老]。
你还记得用来{use}的{thing}吗？我[昨天|在市场上][买|找]到了一个。
回家路上我看见一只{animal}，是{animal_colour}的，它们都是这个颜色。
有人从{origin}给我带来了{food}，是用{ingredient}做的，味道是{taste}的。
我去了{place}，买了一些{product}，那座{place_sort}就以{product}闻名。
[屋顶|窗户|桥]又坏了，我得去修。
我在学[游泳|跳舞|烤面包]，[很难|很有意思|比我想的难]。
我读了一本好书，讲的是一个[水手|国王]的故事。
[表哥|姨妈|弟弟]来看我，住了[一个星期|三天]。
我丢了[钥匙|帽子|戒指]，后来在[园子里|锅里|面粉里]找到了。
= ask
你好吗？这些日子在忙什么？
你什么时候来{a_home}？
园子里的活[做完了吗|开始了吗]？
你还是[起得那么早|天天爬山]吗？
能不能给我寄[一些种子|一本好书|一张画]？
[你那边|你们街上]有什么新鲜事？
= other
你的{b_pet}好吗？[还是那么能吃吗？|替我喂它一点好吃的。]
你还住在{b_home}吗？[我真想去看看。|我还没有去过。]
你还在做{b_job}吗？
你还是每天晚上{b_instrument}吗？
= wish
有空来看我吧，这里总有你的床。
我们[下星期|星期天|春天]见一面，[喝喝茶|散散步|聊聊天]吧。
快点回信，把什么都告诉我。
多保重，别太累了。
等着你的回信。
就写到这里吧，[灯要灭了|已经很晚了|有人在敲门]。
替我问[大家|你家里人]好。
= close
你的{a_1}
[祝好|此致敬礼|祝你平安]，{a}
你的朋友{a}
[下次再聊|再见]，{a_1}
{a}，写于{a_home}
""")
