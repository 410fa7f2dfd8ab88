"""Chinese plots: the same beats as the English ones, told as one tells them in Chinese.

A line before the colon names the beat; a plot's header says whether the second person is the best friend, or
somebody of the other sex, so that 他 and 她 stay clear. `ask` holds a question about the story and
its answer, after words without which the story does not answer it.
"""

from __future__ import annotations

from danlu.world.wording import lines

OPENINGS = lines("""
    {a}是{a_home}的一位{a_job}。
    {a_home}住着一位{a_job}，名叫{a}。
    {a}住在{a_home}，是一位{a_job}。
    这是{a}的故事，{a_he}住在{a_home}。
    {a}今年{a_age}岁，是一位{a_job}。
    {a}住在{a_home}，家里养了一只{a_pet}。
    在{a_home}，[人人都认识|没有人不知道]{a_job}{a}。
    {a_home}有一位{a_job}，{a_he}的名字叫{a}。
    {a}会{a_instrument}，家住{a_home}。
    {a_home}的人喜欢讲{a}的故事。
    {a}今年{a_age}岁，家在{a_home}。
    你认识{a}吗？{a_he}是一位{a_job}，下面的事就发生在{a_him}身上。
""")
TIMES = lines("""
    [一天早上|一天晚上|一天中午|有一天|那天]，
    [上个星期|去年冬天|去年春天|去年夏天|昨天|星期一|星期天]，
    [不久以前|几天以前]，
    天[刚亮|还没亮|快黑]的时候，
    [吃过午饭|吃过早饭|下班以后|吃完晚饭]，
    [下雪|下雨|刮风]的那天，
    [赶集|过节|放假]那天，
""")
BETWEEN = lines("""
    风[很大|很冷]，可是{a_1}没有[放弃|回头|停下来]。
    这件事[不容易|要花很长时间|很费力气]。
    {a_1}[坐下来|静静地]想了一会儿。
    “我[再试一次|不能放弃]。”{a_1}说。
    “总会有办法的。”{a_1}说。
    墙上的钟[敲了三下|指着五点|敲了九下]。
    远处[有狗在叫|有鸟在唱|传来了钟声]。
    路上的人[停下来看|摇摇头|祝{a_him}好运]。
    {a_1}[深深吸了一口气|喝了几口水]，[又继续做|重新开始]。
    别人也[不知道怎么办|想不出办法]。
""")
ENDINGS = lines("""
    {a_1}[永远忘不了那一天|到现在还常常说起那一天]。
    那天夜里，{a_1}睡得[很香|特别好]。
    {a_1}一路[笑着|唱着歌]回家。
    “这一切都值得。”{a_1}说。
    故事到这里就[讲完了|结束了]。
    晚上，{a_1}高兴得{a_instrument}给大家听。
    后来，{a_1}吃了一大[碗|盘]{a_food}，那是{a_he}最爱吃的东西。
    从那以后，{a_1}[更细心了|胆子更大了|快乐多了]。
""")
PLOTS = """
    @lost_pet other
    want: {time}{a_1}养的{a_pet}不见了，{a_he}想在天黑以前把它找回来。
    want: {time}{a_1}的{a_pet}跑出去了，{a_he}[一心想|希望]把它带回家。
    want: {time}{a_1}回到家，发现{a_pet}不在，[就出门去找|急着要找到它]。
    trouble: 可是街上[又黑又湿|人太多]，谁也没有看见它。
    trouble: 可是雨把它的脚印都冲掉了。
    trouble: 麻烦的是，它[个子小，跑得快|很会躲]，又不出声。
    try: {a_1}先在[床底下|屋子后面|院子里]找，又请{b}来帮忙。
    try: {a_1}一遍一遍地叫它的名字，还在门口放了吃的。
    try: {a_1}提着灯，把[每一条街|每一个院子]都找遍了，一直找到桥头。
    turn: 最后{a_1}听见很轻的声音，原来{a_pet}[坐在篮子里|睡在船底下|躲在谷仓里]。
    turn: 到头来，它自己回来了，在门口[抓门|等着]。
    turn: {b}在[河边|市场上]找到了它，把它放在篮子里送了回来。
    end: {a_1}高兴得[哭了|跳了起来]。
    end: {a_1}紧紧抱住它，[不再难过了|心里充满感激]。
    ask: {a_1}丢了什么？丢了{a_pet}。
    ask: 谁在找{a_pet}？是{a}。

    @cooking friend
    want: {time}{a_1}想给最好的朋友{b}做{a_food}。
    want: {time}{a_1}最好的朋友{b}要来做客，{a_1}打算做{a_food}招待客人。
    want: {time}{a_1}答应给最好的朋友{b}做{a_food}。
    trouble: 可是{a_food}要用{ingredient}来做，家里却没有{ingredient}。
    trouble: 可是{a_1}打开柜子一看，做{a_food}的{ingredient}[不见了|用完了]。
    trouble: 做这个要用{ingredient}，可是店里的{ingredient}[卖光了|刚刚卖完]。
    try: {a_1}一家一家地敲门，向邻居要一点{ingredient}。
    try: {a_1}去饭馆[借|买]一点{ingredient}，厨师一开始不肯。
    try: {a_1}提着旧篮子，冒着雨走到市场去。
    turn: 一位老奶奶送了一些，不久屋子里就香喷喷的了。
    turn: 后来一个[农民|邻居]送来了{ingredient}，锅很快就放到了火上。
    turn: {a_1}空着手回来了，没想到{b_1}自己带来了{ingredient}！
    end: 两个人一直吃到很晚，{a_1}又[得意|高兴]又满足。
    end: “这是我吃过的最好的{a_food}。”{b_1}说。{a_1}听了[很得意|很开心]。
    ask: {a_1}想做什么？想做{a_food}。
    ask: 家里缺什么？缺{ingredient}。
    ask: {a_1}给谁做饭？给{b}。

    @broken_thing other
    want: {time}{a_1}要用那个{thing_colour}的{thing}，它是用来{use}的。
    want: {time}{a_1}想用{thing}来{use}。
    want: {time}活很多，{a_1}要找{thing}，因为它是用来{use}的。
    trouble: 可是它坏了，[掉了一块{material}|少了一块{material}]。
    trouble: 可是它从{a_his}手里[掉下来|滑下来]，{material}裂开了。
    trouble: 可是它不能用了，{a_home}没有人会修。
    try: {a_1}用[绳子|胶水|钉子]把它接好，可是它又坏了。
    try: {a_1}带着它去找{b}，{b_he}[很会|喜欢]修东西。
    try: {a_1}拿着小锤子，修了整整一夜。
    turn: {b}一眼就看出了毛病，过了一个小时，{thing}就跟新的一样了。
    turn: 最后{a_1}用{material}做了一块补上去，它又能用了。
    turn: 它修不好了，{b}就借给{a_him}另一个{thing}。
    end: {a_1}高高兴兴地回去干活了。
    end: {a_1}虽然累，心里却很[满意|高兴]，把{thing}放到了安全的地方。
    ask: 什么东西坏了？{thing}坏了。
    ask: {thing}是用来做什么的？是用来{use}的。

    @music other
    want: {time}有人请{a_1}在[婚礼上|节日里|学校里]{a_instrument}。
    want: {time}{a_1}想在节日以前练会一首新曲子，{a_he}是{a_instrument}的。
    want: {time}{a_1}梦想在全城人面前{a_instrument}。
    trouble: 可是一有人[听|看]，{a_his}手就发抖。
    trouble: 可是曲子[太快|太难]，{a_he}错了[很多次|上百次]。
    trouble: 可是邻居们睡不着，叫{a_him}别练了。
    try: 于是{a_1}每天[早上|晚上]到[谷仓里|树林里]去练，那里只有小鸟听得见。
    try: {a_1}从头开始，慢慢地练，一天练一行。
    try: {a_1}请{b}坐在屋里听，直到自己不再害怕。
    turn: 到了那一天，每个音都对，大家都[拍起手来|站了起来]。
    turn: 那一天错了一个音，{a_he}笑一笑接着来，大家都跳起了舞。
    turn: 过了[两个|三个]星期，{a_he}闭着眼睛也会了。
    end: {a_1}[再也不怕了|为自己感到骄傲]。
    end: {b}第一个来跟{a_him}握手，{a_1}[非常高兴|高兴得脸都红了]。
    ask: {a_1}会什么乐器？{a_he}会{a_instrument}。
    ask: {a_1}最后高兴吗？高兴。

    @garden other
    want: {time}{a_1}在屋后种了[豆子|胡萝卜|花|豌豆]，盼着有个好收成。
    want: {time}{a_1}想要一个种满[玫瑰|白菜|向日葵]的园子。
    trouble: 可是种子被[鸟|老鼠|蜗牛]吃了，什么也没长出来。
    trouble: 可是[一个月|六个星期]没下雨，地硬得像石头。
    trouble: 可是来了一场大风雨，[苗都断了|种子都被冲走了]。
    try: {a_1}每天早上到河边挑水，一次挑两桶。
    try: {a_1}围了一道小篱笆，中间插上一个稻草人。
    try: {a_1}去问{b}。{b_he}说：“要有耐心，傍晚浇水。”
    turn: 慢慢地，地里长出了绿叶。到了秋天，[整条街|大家]都吃不完、用不完。
    turn: 一天早上，[第一朵花开了，接着一朵又一朵|第一片叶子长出来了，接着一片又一片]。
    turn: 最后只剩下一棵，不过它是{a_home}最[高|漂亮]的一棵。
    end: {a_1}送了{b}一篮子，心里[很富足|很得意]。
    end: {a_1}看着园子，[很高兴|心里很平静]。
    ask 屋后: {a_1}在哪里种东西？在屋后。
    ask 送了: {a_1}送了谁一篮子？送了{b}。
    ask 篱笆: {a_1}围了什么？围了一道小篱笆。
    ask 挑水: {a_1}去河边做什么？去挑水。

    @market other
    want: {time}{a_1}动身去{place}，想买那里的特产{product}。
    want: {time}{a_1}想去{place}，那是一座以{product}闻名的{place_sort}。
    want: {time}{a_1}要在中午以前赶到{place}，因为那里的{product}最好。
    trouble: 可是{river}上的桥[断了|不通了|被水淹了]。
    trouble: 可是{river}上起了大雾，{a_he}[迷了路|看不清路]。
    trouble: 可是走到[半路|快到的时候]，车轮坏了。
    try: {a_1}沿着河走，想找[一条船|水浅的地方]。
    try: {b}正在那里[钓鱼|休息]，{a_1}就请{b_him}帮忙。
    try: {a_1}把重的东西都放下，走着去。
    turn: 多亏{b}帮忙，{a_he}正好赶到{place}，买到了想要的东西。
    turn: {a_he}到的时候集市已经散了，有个好心的店主又把店门打开了。
    turn: 最后{a_he}在树下睡了一夜，第二天才走到{place}。
    end: {a_1}很晚才回家，又累又[高兴|有一肚子故事要讲]。
    end: “下次我要早点出门。”{a_1}说。{a_he}[没有生气|只是有一点累]。
    ask: {a_1}想去哪里？想去{place}。
    ask: {place}以什么闻名？以{product}闻名。
    ask: {a_1}要过哪条河？要过{river}。

    @wild_animal other
    want: {time}{a_1}遇见了一只{animal}，想跟它做朋友。
    want: {time}{a_1}看见一只小{animal}独自在路上，想帮帮它。
    want: {time}一只饿着肚子的{animal}站在{a_1}家门口，{a_he}[很可怜它|想喂它]。
    trouble: 可是它很[害怕|野]，迈开{legs}条腿就跑了。
    trouble: 可是{a_1}不知道它[吃什么|喜欢什么]，面包和牛奶它都不碰。
    trouble: 可是它的[脚|一条腿]受了伤，不让人走近。
    try: {b}说：“{animal}是吃{diet}的。”{a_1}就去找来一些。
    try: {a_1}想起{animal}喜欢吃{diet}，就在地上放了一点。
    try: {a_1}一动不动地坐了一个小时，轻轻地[跟它说话|给它唱歌]。
    turn: 它慢慢走过来，在{a_his}手里吃了起来。
    turn: 后来它好了，又回到{habitat}去了，那里才是它的家。
    turn: 第二天它又来了，一点也不怕了。
    end: {a_1}很高兴有了一个新朋友。
    end: {a_1}有点想它，不过看到它[很好|自由自在]，心里也高兴。
    ask: 那是什么动物？是一只{animal}。
    ask: {animal}吃什么？吃{diet}。

    @quarrel friend
    want: {time}{a_1}和最好的朋友{b}想一起[造一条船|画一幅画|写一首歌]。
    want: {time}{a_1}打算和最好的朋友{b}一起[出门旅行|办一个晚会|给大家一个惊喜]。
    trouble: 可是两个人说不到一起，一个要[马上开始|这样做]，一个要等一等。
    trouble: 可是{b_1}迟到了一个小时，{a_1}说了难听的话。
    trouble: 可是{a_1}忘了[日子|说好的事]，{b_1}生气地回家了。
    try: 两天里谁也没跟谁说话。后来{a_1}写了一[封信|张纸条]，开头是“对不起”。
    try: {a_1}端着蛋糕去敲{b_1}的门，没有人开。第二天{a_1}又去敲。
    try: {a_1}去问邻居怎么办，邻居说：“先听，再说。”
    turn: {b_1}开了门，说：“我也有错。”
    turn: 他们在[桥上|井边]碰见了，两个人都笑了起来。
    turn: {b_1}看了以后，端着两杯茶走了过来。
    end: 就这样，两个人和好了，{a_1}心里[轻松|暖和]多了。
    end: 他们握了握手。事情过去了，{a_1}[松了一口气|很高兴]。
    ask: {a_1}最好的朋友是谁？是{b}。
    ask: 他们最后和好了吗？和好了。

    @paint other
    want: {time}{a_1}想把[门|篱笆|船|大门]漆成{a_colour}，那是{a_he}最喜欢的颜色。
    want: {time}{a_1}想要一[件{a_colour}的外衣|顶{a_colour}的帽子]，因为{a_he}最喜欢{a_colour}。
    trouble: 可是店里什么颜色都有，就是没有{a_colour}。
    trouble: 可是那东西[太贵了|要十块钱]，{a_he}只有[四块|六块]。
    trouble: 可是邻居们说，谁也不该用{a_colour}。
    try: {a_1}又去了[三家|四家]店，一家一家地问。
    try: {a_1}给{b}干了一个星期的活，挣这笔钱。
    try: {a_1}写信给邻镇的店，然后等着。
    turn: {b}的旧箱子里正好有{a_colour}的，就白白送给了{a_him}。
    turn: 过了十天，寄来一个包裹，颜色一点也不差。
    turn: 最后钱攒够了，{a_he}把它买了下来。
    end: 每天早上{a_1}都要看一看，心里[美滋滋的|很高兴]。
    end: 不久，{a_home}的人都想要一样的，{a_1}觉得很[得意|有趣]。
    ask: {a_1}想要什么颜色？想要{a_colour}。
    ask: 为什么要那个颜色？因为那是{a_he}最喜欢的颜色。

    @swim other
    want: {time}{a_1}下决心学[游泳|骑马|滑冰|跳舞]。
    want: {time}{a_1}说：“我今年要学会[游泳|骑马|爬山]。”
    trouble: 可是{a_he}怕[摔跤|受伤|冷]。
    trouble: 可是{a_he}一开始[太慢|笨手笨脚]，大家都笑{a_him}。
    trouble: 第一天{a_he}就[摔了一跤|碰破了膝盖]，只想回家。
    try: {b}陪在旁边说：“一步一步来。”
    try: {a_he}每天[早上|晚上]一个人练，一天比一天练得久。
    try: {a_1}数到三，闭上眼睛，又试了一次。
    turn: 过了很多天，忽然就会了，{a_he}高兴得[叫|笑]了起来。
    turn: {a_he}摔了九次，第十次没有摔。
    turn: 到最后，{a_he}比别人做得还要好。
    end: {a_1}很[骄傲|勇敢]，再也没有人笑{a_him}了。
    end: “我害怕过，可是我做到了。”{a_1}[高兴|骄傲]地说。
    ask 怕: {a_1}一开始害怕吗？害怕。
    ask: 谁帮了{a_1}？是{b}。

    @lost_item other
    want: {time}{a_1}要[锁门|赶船|打开旧箱子]，可是[钥匙|票]在哪里呢？
    want: {time}{a_1}把手伸进口袋，[戒指|信|钱]不见了，{a_he}正等着用。
    trouble: 那天{a_he}[去过面包店、井边和磨坊|去过很多地方]，怎么也想不起来。
    trouble: 天已经黑了，灯里又没有油。
    trouble: 口袋上有个洞，东西可能掉在任何地方。
    try: {a_1}顺着原路一步一步往回走，连石头缝都看了。
    try: {a_1}去问{b}，早上{b_he}见过{a_him}。
    try: {a_1}把家里的[抽屉|袋子|篮子]都翻遍了。
    turn: “看看你的帽子里。”{b}说。果然在那里！
    turn: 原来它一直在厨房的桌子上，压在报纸下面。
    turn: 一个孩子跑过来，举着它问：“这是你的吗？”
    end: {a_1}笑自己糊涂，心里[一块石头落了地|很高兴]。
    end: {a_1}[高高兴兴地|轻快地]回家了。
    ask: {a_1}最后找到了吗？找到了。
    ask 高兴: {a_1}最后心情怎么样？很高兴。

    @help other
    want: {time}{a_1}正要去[庙会|聚会|看戏]，不想迟到。
    want: {time}{a_1}急着[赶最后一班船|在下雨前回家]。
    trouble: 这时{a_he}看见{b}站在路边，[车太重了|车轮坏了|脚受伤了]。
    trouble: 这时{b}在喊人帮忙，原来[羊|鸡]都跑到路上去了。
    trouble: 可是桥上站着{b}，{b_he}一个人走不动了。
    try: {a_1}停下来，放下包，使劲地[推|帮忙]。
    try: {a_1}先是走了过去，后来又转身[回来帮忙|走了回来]。
    try: “等一等，我来帮你。”{a_1}说。两个人就一起干了起来。
    turn: 做完的时候已经太晚了，{b_1}就请{a_him}吃了一顿热饭。
    turn: 只用了半个小时，{b_1}还用车把{a_him}送到了。
    turn: {b_1}谢了{a_him}，还送了一篮子梨。
    end: {a_1}虽然错过了一件事，却[多了一个朋友|得到了更好的东西]，心里很[满足|高兴]。
    end: 整个晚上，{a_1}心里都[暖暖的|很舒服]。
    ask: {a_1}帮助了谁？帮助了{b}。
    ask 急着: {a_1}本来很急吗？是的，很急。
"""
