"""The values invented facts may take, in both languages; a small world uses the first few of each pool."""

from __future__ import annotations

from danlu.world.names import Name


def _pool(table: str) -> tuple[Name, ...]:
    """One 'english=中文' per comma."""
    pairs = (entry.strip().split("=") for entry in table.split(","))
    return tuple(Name(en, zh) for en, zh in pairs)


VALUES: dict[str, tuple[Name, ...]] = {
    "job": _pool(
        "baker=面包师, teacher=老师, farmer=农民, doctor=医生, painter=画家, singer=歌手, sailor=水手, "
        "tailor=裁缝, potter=陶工, gardener=园丁, judge=法官, writer=作家, carpenter=木匠, nurse=护士, "
        "blacksmith=铁匠, guard=卫兵, miner=矿工, driver=司机, librarian=图书管理员, dancer=舞者, "
        "clockmaker=钟表匠, shepherd=牧羊人, beekeeper=养蜂人, engineer=工程师, pilot=飞行员, "
        "dentist=牙医, barber=理发师, lawyer=律师, miller=磨坊工, actor=演员, poet=诗人, merchant=商人, "
        "hunter=猎人, glassblower=玻璃匠, printer=印刷工, brewer=酿酒师, shoemaker=鞋匠, "
        "astronomer=天文学家, mapmaker=制图师, fisher=渔民, cook=厨师, weaver=织布工, bookseller=书商, "
        "builder=建筑工, vet=兽医, journalist=记者, translator=翻译, goldsmith=金匠"
    ),
    "colour": _pool(
        "red=红色, blue=蓝色, green=绿色, yellow=黄色, white=白色, black=黑色, brown=棕色, grey=灰色, "
        "pink=粉色, purple=紫色, orange=橙色, silver=银色, golden=金色, turquoise=青绿色, "
        "scarlet=深红色, beige=米色"
    ),
    "instrument": _pool(
        "flute=长笛, drum=鼓, violin=小提琴, piano=钢琴, guitar=吉他, trumpet=小号, harp=竖琴, "
        "horn=圆号, cello=大提琴, accordion=手风琴, oboe=双簧管, organ=管风琴, lute=鲁特琴, "
        "clarinet=单簧管, banjo=班卓琴, tuba=大号, mandolin=曼陀林, saxophone=萨克斯, harmonica=口琴, "
        "bassoon=巴松管"
    ),
    "region": _pool(
        "north=北方, south=南方, east=东方, west=西方, hills=山区, desert=沙漠地区, valley=山谷地区, "
        "highlands=高原地区, forest=林区, plains=平原地区, marshes=沼泽地, lowlands=低地, "
        "far north=极北, far south=极南"
    ),
    "product": _pool(
        "honey=蜂蜜, glass=玻璃, wool=羊毛, salt=盐, silk=丝绸, wine=葡萄酒, paper=纸, pottery=陶器, "
        "apples=苹果, cheese=奶酪, rope=绳子, marble=大理石, tea=茶叶, pearls=珍珠, carpets=地毯, "
        "candles=蜡烛, bells=铃铛, mirrors=镜子, roses=玫瑰, boats=木船, hats=帽子, ink=墨水, coal=煤, "
        "oranges=橙子, clocks=钟表, kites=风筝, lamps=灯笼, soap=肥皂, tobacco=烟草, copper=铜, "
        "olives=橄榄, baskets=篮子"
    ),
    "diet": _pool(
        "berries=浆果, fish=鱼, grass=草, seeds=种子, insects=昆虫, roots=草根, leaves=树叶, nuts=坚果, "
        "mushrooms=蘑菇, worms=虫子, bird eggs=鸟蛋, moss=苔藓, snails=蜗牛, bark=树皮, flowers=花, "
        "crabs=螃蟹, frogs=青蛙, fruit=水果, shellfish=贝类, algae=水藻"
    ),
    "habitat": _pool(
        "forests=森林里, deserts=沙漠里, caves=山洞里, rivers=河里, lakes=湖里, marshes=沼泽里, "
        "meadows=草地上, gardens=花园里, treetops=树顶上, burrows=地洞里, valleys=山谷里, orchards=果园里, "
        "bamboo groves=竹林里, reed beds=芦苇丛里, hollow trees=树洞里, rice fields=稻田里, "
        "ponds=池塘里, ravines=峡谷里, vineyards=葡萄园里, haystacks=草垛里"
    ),
    "taste": _pool(
        "sweet=甜, sour=酸, salty=咸, bitter=苦, spicy=辣, mild=清淡, fragrant=香, tart=酸甜, rich=醇厚, "
        "fresh=鲜"
    ),
    "ingredient": _pool(
        "pumpkin=南瓜, rice=大米, milk=牛奶, spinach=菠菜, onion=洋葱, corn=玉米, potato=土豆, "
        "ginger=生姜, coconut=椰子, garlic=大蒜, lemon=柠檬, cabbage=白菜, tomato=西红柿, banana=香蕉, "
        "carrot=胡萝卜, cherry=樱桃, chestnut=栗子, tofu=豆腐, pepper=胡椒, plum=李子, barley=大麦, "
        "mango=芒果, walnut=核桃, peach=桃子, celery=芹菜, lotus root=莲藕, sesame=芝麻, oat=燕麦"
    ),
    "material": _pool(
        "wood=木头, iron=铁, stone=石头, clay=黏土, leather=皮革, bone=骨头, bronze=青铜, tin=锡, "
        "bamboo=竹子, steel=钢, ox horn=牛角, jade=玉, straw=稻草, cotton=棉布, amber=琥珀, crystal=水晶, "
        "brass=黄铜, ivory=象牙"
    ),
    "use": _pool(
        "catching fish=捕鱼, carrying water=运水, telling time=计时, cutting grass=割草, "
        "making music=奏乐, grinding grain=磨粮食, lighting rooms=照明, weighing gold=称金子, "
        "drying fruit=晾干水果, cleaning floors=擦地板, watching stars=观星, sewing clothes=缝衣服, "
        "digging holes=挖洞, cooling drinks=冰镇饮料, calling birds=唤鸟, measuring rain=测雨量, "
        "opening shells=开贝壳, folding letters=折信, sharpening knives=磨刀, picking apples=摘苹果, "
        "keeping bread warm=给面包保温, finding north=辨认北方, ironing shirts=熨衬衫, "
        "peeling potatoes=削土豆"
    ),
}

INSTRUMENT_VERBS = {
    **dict.fromkeys(("长笛", "小号", "圆号", "双簧管", "单簧管", "大号", "萨克斯", "口琴", "巴松管"), "吹"),
    **dict.fromkeys(("钢琴", "吉他", "竖琴", "管风琴", "鲁特琴", "班卓琴", "曼陀林"), "弹"),
    **dict.fromkeys(("小提琴", "大提琴", "手风琴"), "拉"),
    "鼓": "打",
}
