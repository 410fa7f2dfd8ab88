"""How things are done: steps for cooking, feeding, using, travelling and the house, each block in order.

A block's steps are numbered; one line of each is told. `{a}` is whoever gives the advice.
"""

from __future__ import annotations

from danlu.world.wording import sections

EN = sections("""
= cook title
How to [make|cook|prepare] {food}
{food}, step by step
{a_1}'s way of making {food}
A [simple|good|quick] recipe for {food}
= cook 1
For {food} you need {ingredient}, for that is what it is made from.
[Buy|Get] some [fresh|good] {ingredient}. Without {ingredient} there is no {food}.
You need {ingredient}, a little salt, water and a [big|clean] pot.
{food} is made from {ingredient}, so [wash|prepare] the {ingredient} first.
= cook 2
[Wash|Clean] the {ingredient} [well|with care] and cut it into small pieces.
Put the {ingredient} in a [bowl|pot] and add [a cup of water|a spoon of salt].
[Chop|Mix] everything [finely|well] and let it rest for [ten|twenty] minutes.
= cook 3
[Cook|Heat] it slowly for [half an hour|an hour] and [stir|turn it] from time to time.
[Put it in a hot oven|Put it on a small fire] and wait until it [smells good|is soft].
[Stir|Watch] it [all the time|with patience], or it will burn.
= cook 4
When it is [ready|done], it is {food_colour} and tastes {taste}.
Serve it [warm|on a big plate|with bread]. It should taste {taste}.
If it looks {food_colour}, you have done everything right.
[Enjoy it|Eat it] with [friends|your family], as people in {origin} do, where {food} comes from.
= feed title
How to [look after|care for|keep] {an_animal}
Your first {animal}
[Advice|Tips] for people who keep {an_animal}
= feed 1
The {animal} eats {diet}, so always have some {diet} in the house.
Give your {animal} {diet} [every morning|twice a day]. That is its food.
First of all, find a place where you can get {diet}, because the {animal} eats nothing else.
= feed 2
[Change|Fill up] the water [every day|in the morning] and keep its place clean.
It needs a [quiet|dry|warm] corner to sleep and a soft blanket.
With its {legs} legs it [needs room to run|likes long walks].
= feed 3
Speak [softly|in a low voice] and never [pull|push] it.
[Brush|Clean] its {animal_colour} coat once a week.
If it [is ill|does not eat], call a doctor for animals.
= feed 4
With good care {an_animal} lives for {lifespan} years.
Be [patient|kind], and it will [trust|follow] you.
Remember that a pet needs you [every day|in summer and in winter].
= use title
How to use {a_thing}
[A short guide to|First steps with] the {thing}
What {a_thing} can do for you
= use 1
The {thing} is used for {use}. Here is how it works.
If you are thinking of {use}, you need {a_thing}.
Before you use your {thing} for {use}, read this.
= use 2
First [look at it well|wipe it with a cloth]. It is made of {material} and must not [get wet|fall].
[Hold|Take] it with both hands, because {material} can [break|slip].
Make sure that no part of the {material} is broken.
= use 3
[Start slowly|Do not hurry], and [try it on something small first|ask somebody to watch].
With a little practice {use} will be easy.
Turn it [to the left|to the right] until you hear a click, and go on.
= use 4
When you are done, [clean it|put it away in a dry place].
Keep it [out of the sun|away from small children].
If it breaks, do not throw it away: most {thing}s can be repaired.
= travel title
How to [get to|reach] {place}
A [day|journey] in {place}
[Advice|Tips] for your trip to {place}
= travel 1
{place} is a {place_sort} on the {river}, so just follow the water.
First [find|look for] the {river} on the map, because {place} lies on it.
Set out [early|before sunrise], with good shoes and some bread.
= travel 2
Take the [boat|bus] as far as the [bridge|mill], and then walk.
[Ask|Look] for the road along the {river}.
Do not carry too much: [a hat, water and a coat|one small bag] will do.
= travel 3
In {place}, go to the market [first|in the morning]. The {place_sort} is known for its {product}.
Do not leave without some {product}, for which {place} is known.
[See|Visit] the old [bridge|church|tower] and taste the food.
= travel 4
[Write down|Remember] when the last boat leaves.
If you have time, stay [for the night|until the evening]. It is worth it.
And do not forget to [send a card home|say thank you to those who helped you].
= house title
How to [clean a window|wash a coat|mend a sock|plant a tree|light a stove|write a letter]
[A little|Some] advice for the house
For those who do it for the first time
= house 1
First, [get everything ready|clear the table|find a quiet place].
Begin in the [morning|afternoon], when there is enough light.
[Think|Look] before you start: what do you need, and where is it?
= house 2
Then [begin at the top|go slowly] and do one thing after another.
Next, [ask somebody for help|take a short rest] if it is too hard.
After that, [look at|check] everything once more.
= house 3
[Do not worry|Never mind] if the first try goes wrong.
If something is missing, [use what you have|ask the neighbours].
Be careful with [hot water|sharp things|fire].
= house 4
At the end, [clean your tools|put everything back].
Finally, [sit down and look at your work|drink a cup of tea].
That is all. [It takes about an hour.|Next time it will be faster.]
""")
ZH = sections("""
= cook title
怎样做{food}
一步一步做{food}
{a_1}做{food}的办法
{food}的[简单|家常]做法
= cook 1
做{food}要准备{ingredient}，因为它就是用{ingredient}做的。
[买|找]一些[新鲜的|好的]{ingredient}，没有{ingredient}就做不成{food}。
要准备{ingredient}、一点盐、水，还有一口[大|干净的]锅。
{food}是用{ingredient}做的，所以先把{ingredient}[洗干净|准备好]。
= cook 2
把{ingredient}[洗干净|收拾好]，切成小块。
把{ingredient}放进[碗里|锅里]，加[一杯水|一勺盐]。
把所有东西[切碎|拌匀]，放[十|二十]分钟。
= cook 3
用小火煮[半个小时|一个小时]，不时[搅一搅|翻一翻]。
[放进烤箱里烤|放在小火上]，等到[闻着香了|变软了]就行。
要[一直搅|耐心看着]，不然会糊。
= cook 4
做好以后是{food_colour}的，味道是{taste}的。
[趁热吃|放在大盘子里|配着面包]，吃起来应该是{taste}的。
看起来是{food_colour}的，那就做对了。
和[朋友|家人]一起吃吧，{food}的产地{origin}的人就是这样吃的。
= feed title
怎样[照顾|养]{animal}
第一次养{animal}
给养{animal}的人的[建议|几句话]
= feed 1
{animal}吃{diet}，所以家里总要有{diet}。
[每天早上|每天两次]给{animal}吃{diet}，那就是它的食物。
首先要找到有{diet}的地方，因为{animal}别的都不吃。
= feed 2
[每天|早上]换水，把窝收拾干净。
它要一个[安静|干燥|暖和]的地方睡觉，还要一条软毯子。
它有{legs}条腿，[要有地方跑|喜欢走远路]。
= feed 3
跟它说话要[轻|小声]，不要[拉|推]它。
它的毛是{animal_colour}的，每个星期要[刷|洗]一次。
它要是[病了|不吃东西]，就去请兽医。
= feed 4
照顾得好，{animal}能活{lifespan}年。
只要[有耐心|对它好]，它就会[相信|跟着]你。
别忘了，宠物[每天|冬天和夏天]都需要你。
= use title
怎样用{thing}
{thing}[入门|使用说明]
{thing}能帮你做什么
= use 1
{thing}是用来{use}的，下面说说怎么用。
想要{use}，就得有{thing}。
用{thing}来{use}以前，先读一读下面的话。
= use 2
先[前后左右看一看|用干布擦一擦]。它是用{material}做的，不能[弄湿|摔]。
用两只手[拿好|拿稳]，{material}容易[坏|滑]。
看看{material}有没有坏的地方。
= use 3
[慢慢来|不要急]，[先拿小东西试一试|请别人在旁边看着]。
多练几次，{use}就很容易。
往[左|右]转，听见响声就行了。
= use 4
用完以后，[擦干净|放到干燥的地方]。
不要[放在太阳底下|让小孩子玩]。
要是坏了，不要扔掉，大多数{thing}都能修好。
= travel title
怎样去{place}
在{place}的一天
去{place}旅行的[建议|几句话]
= travel 1
{place}是{river}边上的一座{place_sort}，跟着河走就行。
先在地图上找到{river}，{place}就在河边。
[一早|天亮以前]出发，穿一双好鞋，带一点面包。
= travel 2
坐[船|车]到[桥头|磨坊]，然后走路。
[问一问|找一找]沿着{river}的那条路。
东西不要带太多，[一顶帽子、一壶水、一件外衣|一个小包]就够了。
= travel 3
到了{place}，[先|早上]去市场看看，那里以{product}闻名。
离开以前，一定要买一点{place}的特产{product}。
去[看看|参观]老[桥|教堂|塔]，尝尝那里的饭菜。
= travel 4
[记下|记住]最后一班船几点开。
有时间的话，[住一夜|待到晚上]，很值得。
也别忘了[往家里寄一张卡片|谢谢帮助过你的人]。
= house title
怎样[擦窗户|洗外衣|补袜子|种一棵树|生炉子|写一封信]
过日子的小办法
写给第一次做的人
= house 1
首先，[把东西准备好|把桌子收拾干净|找一个安静的地方]。
[早上|下午]开始做，那时候光线好。
动手以前先[想一想|看一看]：要用什么，东西在哪里？
= house 2
然后[从上面开始|慢慢来]，一件一件地做。
接着，要是太难，就[请人帮忙|歇一会儿]。
之后，再[看|检查]一遍。
= house 3
第一次做不好，[不要紧|别着急]。
要是缺了什么，就[用手边的东西|问问邻居]。
小心[热水|刀子|火]。
= house 4
最后，[把工具洗干净|把东西放回原处]。
做完了，[坐下来看看自己做的活|喝一杯茶]。
就这么简单，[大约要一个小时|下次会更快]。
""")
