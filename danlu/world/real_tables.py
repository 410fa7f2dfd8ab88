"""Real facts as tables of 'subject : value' with both languages, and the sentences that tell them."""

from __future__ import annotations

from collections.abc import Mapping

from danlu.world.names import Lang

SEQUENCES: Mapping[str, str] = {
    "days": (
        "Monday=星期一, Tuesday=星期二, Wednesday=星期三, Thursday=星期四, Friday=星期五, Saturday=星期六, "
        "Sunday=星期日"
    ),
    "months": (
        "January=一月, February=二月, March=三月, April=四月, May=五月, June=六月, July=七月, August=八月, "
        "September=九月, October=十月, November=十一月, December=十二月"
    ),
    "numbers": (
        "one=一, two=二, three=三, four=四, five=五, six=六, seven=七, eight=八, nine=九, ten=十, "
        "eleven=十一, twelve=十二, thirteen=十三, fourteen=十四, fifteen=十五, sixteen=十六, seventeen=十七, "
        "eighteen=十八, nineteen=十九, twenty=二十"
    ),
    "seasons": "spring=春天, summer=夏天, autumn=秋天, winter=冬天",
}

TABLES: Mapping[str, str] = {
    "capital": """
France=法国 : Paris=巴黎
Japan=日本 : Tokyo=东京
China=中国 : Beijing=北京
Italy=意大利 : Rome=罗马
Spain=西班牙 : Madrid=马德里
Germany=德国 : Berlin=柏林
Russia=俄罗斯 : Moscow=莫斯科
Egypt=埃及 : Cairo=开罗
Greece=希腊 : Athens=雅典
Britain=英国 : London=伦敦
Austria=奥地利 : Vienna=维也纳
Portugal=葡萄牙 : Lisbon=里斯本
Poland=波兰 : Warsaw=华沙
Sweden=瑞典 : Stockholm=斯德哥尔摩
Norway=挪威 : Oslo=奥斯陆
Finland=芬兰 : Helsinki=赫尔辛基
Denmark=丹麦 : Copenhagen=哥本哈根
Ireland=爱尔兰 : Dublin=都柏林
Hungary=匈牙利 : Budapest=布达佩斯
Turkey=土耳其 : Ankara=安卡拉
Iran=伊朗 : Tehran=德黑兰
India=印度 : New Delhi=新德里
Thailand=泰国 : Bangkok=曼谷
Vietnam=越南 : Hanoi=河内
South Korea=韩国 : Seoul=首尔
Mongolia=蒙古 : Ulaanbaatar=乌兰巴托
Nepal=尼泊尔 : Kathmandu=加德满都
Canada=加拿大 : Ottawa=渥太华
Mexico=墨西哥 : Mexico City=墨西哥城
Cuba=古巴 : Havana=哈瓦那
Peru=秘鲁 : Lima=利马
Chile=智利 : Santiago=圣地亚哥
Argentina=阿根廷 : Buenos Aires=布宜诺斯艾利斯
Brazil=巴西 : Brasilia=巴西利亚
Australia=澳大利亚 : Canberra=堪培拉
New Zealand=新西兰 : Wellington=惠灵顿
Kenya=肯尼亚 : Nairobi=内罗毕
Morocco=摩洛哥 : Rabat=拉巴特
Iceland=冰岛 : Reykjavik=雷克雅未克
Belgium=比利时 : Brussels=布鲁塞尔
""",
    "symbol": """
hydrogen=氢 : H
oxygen=氧 : O
carbon=碳 : C
nitrogen=氮 : N
gold=金 : Au
silver=银 : Ag
iron=铁 : Fe
copper=铜 : Cu
helium=氦 : He
sodium=钠 : Na
chlorine=氯 : Cl
calcium=钙 : Ca
zinc=锌 : Zn
tin=锡 : Sn
lead=铅 : Pb
neon=氖 : Ne
sulphur=硫 : S
silicon=硅 : Si
aluminium=铝 : Al
mercury=汞 : Hg
""",
    "sound": """
dog=狗 : barks=汪汪
cat=猫 : mews=喵喵
cow=牛 : moos=哞哞
sheep=羊 : bleats=咩咩
duck=鸭子 : quacks=嘎嘎
frog=青蛙 : croaks=呱呱
bee=蜜蜂 : buzzes=嗡嗡
mouse=老鼠 : squeaks=吱吱
hen=母鸡 : clucks=咯咯
bird=小鸟 : chirps=叽叽
wolf=狼 : howls=嗷嗷
snake=蛇 : hisses=嘶嘶
""",
    "opposite": """
big=大 : small=小
hot=热 : cold=冷
long=长 : short=短
high=高 : low=低
fast=快 : slow=慢
good=好 : bad=坏
new=新 : old=旧
near=近 : far=远
open=开 : closed=关
full=满 : empty=空
heavy=重 : light=轻
wet=湿 : dry=干
black=黑 : white=白
up=上 : down=下
left=左 : right=右
early=早 : late=晚
rich=富 : poor=穷
hard=硬 : soft=软
deep=深 : shallow=浅
thick=厚 : thin=薄
true=真 : false=假
many=多 : few=少
inside=里 : outside=外
strong=强 : weak=弱
clean=干净 : dirty=脏
happy=高兴 : sad=难过
quiet=安静 : loud=吵闹
safe=安全 : dangerous=危险
easy=容易 : difficult=困难
""",
    "young": """
dog=狗 : puppy=小狗
cat=猫 : kitten=小猫
cow=牛 : calf=小牛
sheep=羊 : lamb=小羊
horse=马 : foal=小马
hen=鸡 : chick=小鸡
duck=鸭 : duckling=小鸭
bear=熊 : cub=小熊
frog=青蛙 : tadpole=蝌蚪
butterfly=蝴蝶 : caterpillar=毛毛虫
""",
    "typical_colour": """
grass=草 : green=绿色
snow=雪 : white=白色
blood=血 : red=红色
coal=煤 : black=黑色
milk=牛奶 : white=白色
the sky=天空 : blue=蓝色
the sun=太阳 : yellow=黄色
gold=黄金 : yellow=黄色
chocolate=巧克力 : brown=棕色
salt=盐 : white=白色
tomato juice=番茄汁 : red=红色
fresh spinach=新鲜菠菜 : green=绿色
""",
    "unit": """
minute=一分钟 : 60 seconds=60秒
hour=一小时 : 60 minutes=60分钟
day=一天 : 24 hours=24小时
week=一个星期 : 7 days=7天
year=一年 : 12 months=12个月
century=一个世纪 : 100 years=100年
metre=一米 : 100 centimetres=100厘米
kilometre=一公里 : 1000 metres=1000米
kilogram=一公斤 : 1000 grams=1000克
tonne=一吨 : 1000 kilograms=1000公斤
litre=一升 : 1000 millilitres=1000毫升
centimetre=一厘米 : 10 millimetres=10毫米
dozen=一打 : 12 pieces=12个
""",
    "mixture": """
red and yellow=红色和黄色 : orange=橙色
blue and yellow=蓝色和黄色 : green=绿色
red and blue=红色和蓝色 : purple=紫色
black and white=黑色和白色 : grey=灰色
red and white=红色和白色 : pink=粉色
""",
    "legs": """
dog=狗 : 4
cat=猫 : 4
horse=马 : 4
hen=鸡 : 2
duck=鸭子 : 2
ant=蚂蚁 : 6
bee=蜜蜂 : 6
spider=蜘蛛 : 8
cow=牛 : 4
sheep=羊 : 4
fly=苍蝇 : 6
""",
    "continent": """
China=中国 : Asia=亚洲
Japan=日本 : Asia=亚洲
India=印度 : Asia=亚洲
France=法国 : Europe=欧洲
Italy=意大利 : Europe=欧洲
Germany=德国 : Europe=欧洲
Egypt=埃及 : Africa=非洲
Kenya=肯尼亚 : Africa=非洲
Brazil=巴西 : South America=南美洲
Peru=秘鲁 : South America=南美洲
Canada=加拿大 : North America=北美洲
Mexico=墨西哥 : North America=北美洲
""",
    "sense": """
eyes=眼睛 : see=看
ears=耳朵 : hear=听
nose=鼻子 : smell=闻
tongue=舌头 : taste=尝
teeth=牙齿 : chew=嚼
legs=腿 : walk=走路
hands=手 : hold things=拿东西
lungs=肺 : breathe=呼吸
""",
    "digit": """
zero=零 : 0
one=一 : 1
two=二 : 2
three=三 : 3
four=四 : 4
five=五 : 5
six=六 : 6
seven=七 : 7
eight=八 : 8
nine=九 : 9
ten=十 : 10
eleven=十一 : 11
twelve=十二 : 12
thirteen=十三 : 13
fifteen=十五 : 15
twenty=二十 : 20
thirty=三十 : 30
forty=四十 : 40
fifty=五十 : 50
sixty=六十 : 60
a hundred=一百 : 100
a thousand=一千 : 1000
""",
}

EN = """
= capital
{V} is the capital of {x}.
The capital of {x} is {v}.
{X} has its capital in {v}.
The capital of {x} is called {v}.
[People|Those] who govern {x} sit in {v}, the capital.
The country of which {v} is the capital is {x}.
If you fly to the capital of {x}, you land in {v}.
? What is the capital of {x}?
? Which city is the capital of {x}?
? What is the name of the capital of {x}?

= symbol
The symbol [for|of] {x} is {v}.
{V} [is the symbol of|stands for] {x}.
[Chemists|People who study chemistry] write {v} for {x}.
{X} has the symbol {v}.
In the table of elements {x} is written {v}.
{X} is an element, and its symbol is {v}.
? What is the symbol for {x}?
? Which symbol does {x} have?

= sound
{Ax} {v}.
When {ax} is hungry, it {v}.
[Listen|Do you hear it]: the {x} {v}.
Every {x} {v}.
The animal that {v} is the {x}.
It is the {x} that {v}.
? What does {ax} do when it calls?
? What can {ax} do with its voice?

= opposite
The opposite of {x} is {v}.
{X} is the opposite of {v}.
{X} and {v} are opposites.
What is not {x} may be {v}; they are opposites.
If {x} is on one side, {v} is on the other: they are opposites.
{X} means the opposite of {v}.
? What is the opposite of {x}?
? Which word is the opposite of {x}?
? What do you call the opposite of {x}?

= young
A young {x} is called {av}.
{Av} is a young {x}.
{Av} will [grow up to be|one day be|become] {ax}.
The young of the {x} is the {v}.
Before it was {ax}, it was {av}.
{Ax} was {av} [once|when it was small].
? What is a young {x} called?
? What do you call a young {x}?

= typical_colour
{X} is {v}.
The colour of {x} is {v}.
{X} has the colour {v}, [as everybody knows|as we all know].
[Everybody knows|Children learn] that {x} is {v}.
As {v} as {x}, people say.
If you paint {x}, take {v}.
? What colour is {x}?
? What is the colour of {x}?

= unit
There are {v} in {ax}.
{Ax} has {v}.
{V} make {ax}.
{Ax} is {v}.
{Ax} is as much as {v}.
[We count|People count] {v} in {ax}.
? How much is {ax}?
? What makes {ax}?

= mixture
If you mix {x}, you get {v}.
{X} [give|make] {v}.
{V} is made by mixing {x}.
A painter who needs {v} can mix {x}.
Mix {x}, and you will see {v}.
Out of {x} comes {v}.
? What colour do you get from {x}?
? What do {x} make together?

= legs
{Ax} has {v} legs.
{Ax} walks on {v} legs.
Count the legs of {ax}: there are {v}.
Every {x} has {v} legs.
The legs of {ax} are {v} in number.
{V} legs carry {ax}.
? How many legs does {ax} have?
? How many legs has {ax}?

= continent
{X} is in {v}.
{X} is a country in {v}.
{X} [lies|is found] in {v}.
{X} belongs to {v}.
One of the countries of {v} is {x}.
Whoever visits {x} is in {v}.
? On which continent is {x}?
? In which part of the world is {x}?

= sense
We {v} with our {x}.
To {v}, people use their {x}.
With our {x} we {v}.
We need our {x} to {v}.
Thanks to our {x} we can {v}.
Whoever wants to {v} uses the {x}.
? What do we do with our {x}?
? What do people use their {x} for?

= digit
The number {x} is written {v}.
{X} is written {v} in digits.
In digits, {x} is {v}.
{V} is read {x}.
We write {v} and say {x}.
{V} means {x}.
? How do you write {x} in digits?
? Which number is {x}?

= after_days
After {x} comes {v}.
The day after {x} is {v}.
{X} comes before {v}.
If today is {x}, tomorrow is {v}.
If today is {v}, yesterday was {x}.
{X} is followed by {v}.
? Which day comes after {x}?
? What is the day after {x}?

= after_months
After {x} comes {v}.
The month after {x} is {v}.
{X} comes before {v}.
When {x} is over, {v} begins.
If this month is {x}, next month is {v}.
{X} is followed by {v}.
? Which month comes after {x}?
? What is the month after {x}?

= after_numbers
After {x} comes {v}.
The number after {x} is {v}.
{X} comes before {v}.
{X} and one make {v}.
{V} is one more than {x}.
{X} is one less than {v}.
? Which number comes after {x}?
? What is one more than {x}?

= after_seasons
After {x} comes {v}.
The season after {x} is {v}.
{X} comes before {v}.
When {x} is over, {v} begins.
{X} is followed by {v}.
When {v} comes, {x} is past.
? Which season comes after {x}?
? What comes after {x}?

= order_days
The days in order: {list}.
The days of the week go like this: {list}.
{List}: these are days of the week.
Say the days after me: {list}.

= order_months
The months in order: {list}.
The months of the year go like this: {list}.
{List}: these are months of the year.
Say the months after me: {list}.

= order_numbers
Let us count: {list}.
{List}, and so on.
Children learn to count: {list}.
The numbers in order: {list}.

= order_seasons
The seasons in order: {list}.
The seasons come one after another: {list}.
The year has seasons: {list}.
"""
ZH = """
= capital
{x}的首都是{v}。
{v}是{x}的首都。
{x}的首都[叫|名叫]{v}。
{x}把首都[设在|定在]{v}。
首都是{v}的国家是{x}。
要去{x}的首都，就是去{v}。
[说到|提起]{x}的首都，就是{v}。
? {x}的首都是哪里？
? 哪座城市是{x}的首都？
? {x}的首都叫什么？

= symbol
{x}的元素符号是{v}。
{v}是{x}的符号。
[化学里|在化学里]用{v}表示{x}。
{x}写作{v}。
{x}是一种元素，符号是{v}。
看到{v}，就知道是{x}。
? {x}的元素符号是什么？
? {x}用什么符号表示？

= sound
{x}[{v}|{v}地]叫。
{x}的叫声是{v}。
{v}，{v}，是{x}在叫。
{x}一[饿|高兴]就{v}地叫。
听，{x}在{v}地叫。
会{v}叫的是{x}。
? {x}怎么叫？
? {x}的叫声是什么？

= opposite
{x}的反义词是{v}。
{x}和{v}意思相反。
{x}的反面是{v}。
和{x}相反的是{v}。
{v}是{x}的反义词。
[不是|不]{x}，那就[可能是|可能]{v}，它们是一对反义词。
? {x}的反义词是什么？
? 和{x}相反的是什么？
? 哪个词和{x}意思相反？

= young
{x}的孩子叫{v}。
{v}长大了就是{x}。
{v}是{x}的孩子。
{x}小时候是{v}。
{v}会长成{x}。
{v}的妈妈是{x}。
? {x}的孩子叫什么？
? {x}小时候是什么？

= typical_colour
{x}是{v}的。
{x}的颜色是{v}。
[谁都知道|大家都知道|孩子们都知道]{x}是{v}的。
画{x}要用{v}。
{v}就像{x}的颜色。
{x}的颜色就是{v}。
? {x}是什么颜色的？
? {x}的颜色是什么？

= unit
{x}是{v}。
{x}等于{v}。
{x}有{v}。
{v}就是{x}。
{v}等于{x}。
{x}也就是{v}。
? {x}等于多少？
? {x}是多少？

= mixture
{x}混在一起是{v}。
把{x}混合，就得到{v}。
{x}可以调出{v}。
{v}可以用{x}调出来。
画家想要{v}，就把{x}调在一起。
{x}加在一起变成{v}。
? {x}混在一起是什么颜色？
? {x}能调出什么颜色？

= legs
{x}有{v}条腿。
{x}长着{v}条腿。
{x}用{v}条腿走路。
一只{x}有{v}条腿。
数一数{x}的腿，一共{v}条。
{x}的腿有{v}条。
? {x}有几条腿？
? {x}长着几条腿？

= continent
{x}在{v}。
{x}位于{v}。
{x}是{v}的国家。
{x}是{v}的一个国家。
{v}有一个国家叫{x}。
到了{x}，就到了{v}。
? {x}在哪个洲？
? {x}是哪个洲的国家？

= sense
我们用{x}{v}。
{x}是用来{v}的。
人用{x}{v}。
要{v}，就要用{x}。
{x}可以{v}。
有了{x}，我们才能{v}。
? {x}是用来做什么的？
? 我们用{x}做什么？

= digit
{x}写成数字是{v}。
数字{v}读作{x}。
{x}就是{v}。
{v}就是{x}。
我们写{v}，读{x}。
{v}表示{x}。
? {x}写成数字是什么？
? {x}怎么用数字写？

= after_days
{x}之后是{v}。
{x}的[下一天|第二天]是{v}。
{v}的前一天是{x}。
今天是{x}，明天就是{v}。
今天是{v}，昨天就是{x}。
过了{x}就是{v}。
? {x}之后是星期几？
? 今天是{x}，明天是星期几？

= after_months
{x}之后是{v}。
{x}的下一个月是{v}。
{v}的上一个月是{x}。
这个月是{x}，下个月就是{v}。
过了{x}就是{v}。
{x}过完，{v}就来了。
? {x}之后是几月？
? {x}的下一个月是几月？

= after_numbers
{x}的后面是{v}。
{x}加一是{v}。
{v}的前面是{x}。
{v}比{x}多一。
{x}比{v}少一。
数完{x}就数{v}。
? {x}的后面是几？
? {x}加一是几？

= after_seasons
{x}之后是{v}。
{x}过完就是{v}。
{v}在{x}的后面。
{v}的前面是{x}。
{x}一过，{v}就来了。
过了{x}，就到了{v}。
? {x}之后是什么季节？
? {x}过完是什么季节？

= order_days
一个星期的日子按顺序是：{list}。
按顺序念：{list}。
{list}，这些都是星期里的日子。
跟我念：{list}。

= order_months
一年的月份按顺序是：{list}。
按顺序念月份：{list}。
{list}，这些都是月份。
跟我念：{list}。

= order_numbers
我们来数数：{list}。
{list}，就这样数下去。
孩子们学数数：{list}。
按顺序数：{list}。

= order_seasons
四季按顺序是：{list}。
季节一个接一个：{list}。
一年有不同的季节：{list}。
"""

WORDINGS: Mapping[Lang, str] = {"en": EN, "zh": ZH}
