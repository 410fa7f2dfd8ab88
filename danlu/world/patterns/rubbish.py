"""What the web puts around and between good text: navigation, notices, advertisements, personal data."""

from __future__ import annotations

from danlu.world.wording import Lang, Lines, lines

BOILERPLATE: dict[Lang, Lines] = {
    "en": lines("""
        Home | About us | [News|Shop|Blog] | Contact | Log in
        You are here: Home > [News|Stories|Articles] > Page {n}
        This website uses cookies. By continuing you [accept|agree to] our policy. [Accept all|OK|Settings]
        We value your privacy. [Accept all cookies|Manage settings|Reject all]
        Copyright © {year} {site}. All rights reserved.
        © {year} {site} Inc. Terms of use | Privacy policy | Imprint
        Share this: Facebook Twitter Email Print
        [Read more|Continue reading] »
        Previous article | Next article
        Sign up for our newsletter and never miss a story. [Subscribe|Sign up]
        Please enable JavaScript to view the comments.
        Leave a reply. Your email address will not be published. Required fields are marked *
        Posted by admin on {n}/{m}/{year}. Filed under [News|Misc|Uncategorized]. {n} comments.
        Tags: [news|daily|blog], [free|best|top], [home|world|life]
        Page {n} of {m} « First ... Last »
        Skip to main content. Search this site. Menu
        Advertisement. Scroll down to continue.
        Best viewed in 1024x768. You are visitor number {year}{n}.
        Download our app from the App Store or Google Play.
        Error {m}: the page you requested could not be found. Back to the home page.
    """),
    "zh": lines("""
        首页 | 关于我们 | [新闻|商城|博客] | 联系我们 | 登录
        当前位置：首页 > [新闻中心|文章|资讯] > 第{n}页
        本网站使用Cookie。继续浏览即表示您同意我们的[Cookie政策|隐私政策]。[同意|全部接受|设置]
        版权所有 © {year} {site} 未经许可不得转载
        Copyright © {year} {site} All Rights Reserved 京ICP备{year}{m}号
        分享到：微信 微博 QQ空间
        [点击阅读全文|展开全文|查看更多] >>
        上一篇：没有了  下一篇：[更多精彩|返回列表]
        请[登录|注册]后发表评论
        责任编辑：小编  来源：{site}  浏览：{year}次
        扫描二维码关注我们的公众号
        本文来自网络，如有侵权请联系删除
        [打印本页|关闭窗口|返回顶部]
        相关推荐  热门文章  最新评论（{n}）
        免责声明：本站内容仅供参考
        您还没有登录，请先登录。用户名 密码 忘记密码？
        发布时间：{year}-{n}-{m}  点击：{m}  [大 中 小]
        友情链接：{site} 站长之家 网址导航
        下载APP，[看更多内容|享受更好体验]
        出错了！您访问的页面不存在（{m}），请返回首页。
    """),
}
SITES: tuple[str, ...] = (
    "WebDaily",
    "InfoPlanet",
    "NewsBox",
    "TopPages",
    "AllAbout24",
    "NetPost",
    "EasyRead",
)
ADVERTISEMENTS: dict[Lang, Lines] = {
    "en": lines("""
        [BUY NOW|ORDER TODAY|HURRY UP]!!! [Cheap|Best] [watches|handbags|pills|sunglasses], {n}0% OFF!
        Make ${year} a [day|week] from home! No experience needed! Click here: http://{web}/{n}
        CONGRATULATIONS! You have WON a [free phone|gift card|luxury trip]! Claim your prize at {web}
        Lose {n} kilos in {m} days with this one [simple trick|secret pill]! Doctors hate it!!!
        [Fast|Easy] loans, no credit check, cash in {n} minutes. Call now: 0800 {year} {m}
        Best online casino, {n}00% bonus on your first deposit, play now at www.{web}
        Visit www.{web} for the [lowest|best] prices. Limited offer, only {n} left!
        Buy {year} followers for only ${m}. Instant delivery, 100% safe!
        [Replica|Designer] bags and shoes, free shipping worldwide, www.{web}
        FREE FREE FREE! Download the full version now! No virus! {web}/download
        Meet [hot singles|new friends] in your area tonight. Join {web} for free!
        Hot stock tip: this share will go up {n}00% in {m} days. Act fast!
        Cheap essays written by experts, from ${m} a page. Order at {web}
        Don't miss out! [Subscribe|Sign up] today and save up to {n}0%! Use the code SAVE{m}.
    """),
    "zh": lines("""
        [诚信|专业|长期]代开发票，[点数低|可先开后付款]，加微信：{wx}
        需要的朋友请加QQ：{qq}，[非诚勿扰|有意者来]
        [低价|工厂直销|厂家直供]批发[手表|皮包|化妆品|运动鞋]，电话{mobile}，微信同号
        [日赚|每天轻松赚]{m}00元，在家就能做，加微信{wx}了解详情！！！
        恭喜您中奖了！请点击 http://{web}/{n} 领取奖品
        [办理|代办]各类证件，快速拿证，联系电话{mobile}
        无抵押贷款，[当天放款|三分钟到账]，热线{mobile}
        {n}天瘦{m}斤，不反弹，加微信：{wx}，前{n}名免费！
        正规娱乐平台，首存送{n}00%，网址 www.{web}
        专业刷单兼职，[日结|周结]，工资{m}00到{n}000，QQ{qq}
        限时抢购！全场{n}折，点击 www.{web} 马上下单
        [高仿|精仿|原单]名表名包，支持货到付款，微信{wx}
        想要股票内幕消息吗？加群{qq}，老师带你赚大钱
        开锁、搬家、管道疏通，24小时服务，电话：{mobile}
    """),
}
PRIVATE: dict[Lang, dict[str, Lines]] = {
    "en": {
        "email": lines("""
            You can [reach|write to] us at {item}.
            E-mail: {item}
            For questions, write to {item} before Friday.
            My address is {item}, please answer soon.
        """),
        "phone": lines("""
            [Call|Phone|Ring] {item} [after six|in the morning|for more].
            Tel.: {item}
            My telephone number is {item}.
        """),
        "bank_card": lines("""
            Please pay with card {item}.
            Card number: {item}
            The money was taken from card {item}.
        """),
        "mobile": lines("""
            My number in China is {item}.
            Mobile: {item}
        """),
    },
    "zh": {
        "email": lines("""
            有问题请写信到{item}。
            邮箱：{item}
            我的电子邮箱是{item}，请尽快回复。
        """),
        "mobile": lines("""
            联系电话：{item}
            [有事|有问题]请打{item}。
            我的手机号是{item}，[晚上|早上]都可以打。
            手机{item}，欢迎联系。
        """),
        "resident_id": lines("""
            身份证号：{item}
            登记时用的身份证号码是{item}。
            本人身份证{item}，特此说明。
        """),
        "bank_card": lines("""
            请把钱转到卡号{item}。
            银行卡号：{item}
            账户{item}已经收到。
        """),
    },
}
HEADERS: dict[Lang, Lines] = {
    "en": lines("""
        [Copied|Repeated|Shared] from [an old page|a friend|last year]:
        [UPDATE|NEW|AGAIN]: {n} [people|readers] liked this.
        (Reprint no. {n})
        FWD: [please read|see below]
    """),
    "zh": lines("""
        [转载|转帖|分享]：
        【[更新|重发|推荐]】已有{n}人阅读
        （第{n}次转载）
        [朋友转来的一段话|网上看到的]：
    """),
}
# Same meaning, so that a near duplicate never says anything untrue.
SYNONYMS: dict[Lang, tuple[tuple[str, str], ...]] = {
    "en": (
        (" But ", " Yet "),
        (" very ", " really "),
        (" and ", " & "),
        (" is known for ", " is famous for "),
        (" lives in ", " is at home in "),
        (" was glad", " was happy"),
        (" big ", " large "),
        (" wanted to ", " wished to "),
        (" said ", " told us "),
        (" At last ", " Finally "),
        (" In the end ", " Finally "),
        (" often ", " frequently "),
    ),
    "zh": (
        ("可是", "但是"),
        ("因为", "由于"),
        ("非常", "十分"),
        ("高兴", "开心"),
        ("最后", "末了"),
        ("住在", "居住在"),
        ("喜欢", "喜爱"),
        ("以后", "之后"),
        ("大家", "所有人"),
        ("一起", "一同"),
        ("马上", "立刻"),
        ("常常", "经常"),
    ),
}
SCRIPTS: dict[str, str] = {
    "cyrillic": "абвгдежзиклмнопрстуфхцчшщыэюя",
    "greek": "αβγδεζηθικλμνξοπρστυφχψω",
    "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "thai": "กขคงจฉชซญดตถทธนบปผฝพฟมยรลวสหอ",
    "kana": "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわん",
    "hangul": "가나다라마바사아자차카타파하고노도로모보소오조초코토포호",
    "letters": "bcdfghjklmnpqrstvwxz",
    "symbols": "#@$%^&*~+=<>/\\|_-",
    "rare_han": "鼹鼴齾龘靐齉爩鱻麤龗灪龖厵滟爨癵驫麣纞虋讟钃鸜麷",
}
