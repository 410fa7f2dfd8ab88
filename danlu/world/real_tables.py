"""Real facts as tables of 'subject : value' with both languages."""

from __future__ import annotations

from collections.abc import Mapping

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
