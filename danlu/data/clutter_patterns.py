"""The patterns of clutter in English and Chinese, in lower case, and literals of which a match holds one."""

from __future__ import annotations

FRAME: tuple[tuple[str, str], ...] = (
    (
        r"all rights reserved|©|\bcopyright \(?c?\)? ?\d{4}",
        "all rights reserved, ©, copyright",
    ),
    (
        "privacy (?:policy|notice|settings)|terms of (?:use|service)|(?:value|respect|protect) your privacy",
        "privacy, terms of",
    ),
    (
        r"\buses? cookies|cookie policy|accept all",
        "cookie, accept all",
    ),
    (
        "^you are here:",
        "you are here:",
    ),
    (
        r"share this(?: article| page| post| story| on|:)|^share on\b",
        "share ",
    ),
    (
        r"(?:^|[.…] ?)(?:read more|continue reading|click here|learn more)\W*$",
        "read more, continue reading, click here, learn more",
    ),
    (
        r"^(?:previous|next) (?:article|post|page|story)\b",
        "previous , next ",
    ),
    (
        r"(?:our|free|weekly|daily|email) newsletter|newsletter (?:sign|subscri)|^subscribe\b",
        "newsletter, subscribe",
    ),
    (
        "enable javascript|javascript (?:is|must be) (?:disabled|enabled|required)",
        "javascript",
    ),
    (
        r"leave a (?:reply|comment)|post a comment|^no comments\W*$|^\d+ comments?\W*$|"
        r"email address will not be",
        "comment, reply, will not be published",
    ),
    (
        r"^posted (?:by|on|in)\b|\bfiled under\b|^tags?:",
        "posted , filed under, tags:, tag:",
    ),
    (
        r"\bpage \d+ of \d+\b|« ?first|last ?»",
        "page , «, »",
    ),
    (
        "skip to (?:main )?content|search this site",
        "skip to, search this site",
    ),
    (
        r"^advertisement\b|scroll down to continue",
        "advertisement, scroll down",
    ),
    (
        "best viewed (?:in|with)|visitor number",
        "best viewed, visitor number",
    ),
    (
        r"download (?:our|the) app\b|app store|google play",
        "download , app store, google play",
    ),
    (
        r"page (?:you requested |was )?(?:could )?not (?:be )?found|^error \d{2,3}\b",
        "not found, not be found, error ",
    ),
    (
        r"^(?:log|sign) ?in\W*$|^(?:register|menu)\W*$",
        "log in, login, sign in, register, menu",
    ),
    (
        r"^(?:fwd|re|update|again|new):|^\(reprint\b|^(?:copied|repeated|shared|reposted) from\b",
        "fwd:, re:, update:, again:, new:, (reprint,  from ",
    ),
    (
        "lorem ipsum",
        "lorem ipsum",
    ),
    (
        "版权所有|版权归|icp备|未经(?:许可|授权|允许)",
        "版权, icp备, 未经",
    ),
    (
        "^(?:当前|您的?|所在)位置|^位置[:：]",
        "位置",
    ),
    (
        "使用cookie|隐私政策|cookie政策",
        "cookie, 隐私政策",
    ),
    (
        r"^分享(?:到|至)|^[【\[]?(?:转载|转帖|转发|分享|更新|重发|推荐)[】\]]?[:：]|^[（(]第\d+次转载|人阅读$|网上看到的[:：]|"
        r"转来的.{0,6}[:：]",
        "分享, 转载, 转帖, 转发, 更新, 重发, 推荐, 人阅读, 网上看到, 转来",
    ),
    (
        r"(?:阅读|展开|查看)(?:全文|更多|更多内容|详情)\W*$|更多精彩",
        "全文, 查看, 阅读, 更多精彩",
    ),
    (
        r"(?:^|[\s\[【|])[上下]一[篇页章则条]\s?(?:[:：\]】]|\s|$)",
        "上一, 下一",
    ),
    (
        r"请先?(?:登录|注册)|^(?:登录|注册)\W*$|(?:登录|注册)后(?:发表|评论|查看|可)|没有登录|忘记密码",
        "登录, 注册, 密码",
    ),
    (
        r"责任编辑|^(?:来源|作者|编辑|浏览)[:：]|点击[:：]?\d+|浏览[:：]?\d+次",
        "编辑, 来源, 作者, 浏览, 点击",
    ),
    (
        "扫描?(?:下方|左侧|右侧)?二维码|关注(?:我们的?|本|微信)?公众号",
        "二维码, 公众号",
    ),
    (
        "侵权.{0,8}(?:删|联系)|本文来自网络|转载请注明|本文(?:访问)?地址",
        "侵权, 来自网络, 转载, 地址",
    ),
    (
        "打印本页|关闭窗口|返回(?:顶部|首页|列表|目录)",
        "打印, 关闭窗口, 返回",
    ),
    (
        r"^(?:相关(?:推荐|阅读|文章|新闻|链接)|热门(?:文章|推荐|标签)|最新(?:评论|文章)|友情链接)(?:\W|$)|网址导航",
        "相关, 热门, 最新, 友情链接, 导航",
    ),
    (
        "^免责声明|本站内容",
        "声明, 本站",
    ),
    (
        "^(?:发布|更新|发表)(?:时间|日期)[:：]",
        "时间, 日期",
    ),
    (
        r"(?:下载|打开)\s?app\b",
        "app",
    ),
    (
        "页面不存在|页面未找到|^出错了",
        "页面, 出错了",
    ),
)

ADVERTISING: tuple[tuple[str, str], ...] = (
    (
        r"https?://|\bwww\.|\b[\w-]+\.(?:com|net|top|xyz|biz|shop|vip|cc)\b",
        "http, www, .com, .net, .top, .xyz, .biz, .shop, .vip, .cc",
    ),
    (
        r"\b(?:buy|order|call|act|click|join|shop|claim|apply|play|sign up|subscribe)(?: it|"
        r" your prize)? (?:now|today|here|fast|at)\b|hurry up|don't miss",
        "buy , order , call , act , click, join , shop , claim , apply , play , sign up, subscribe, "
        "hurry, don't miss",
    ),
    (
        r"\d+ ?% (?:off|bonus|discount|safe)|for free\b|free (?:gift|phone|sample|trip)|"
        r"gift card|coupon|use the code",
        "%, free, gift card, coupon, code",
    ),
    (
        r"\b(?:free|instant|fast|worldwide) (?:shipping|delivery|trial|download)|"
        r"shipping worldwide",
        "shipping, delivery, trial, download",
    ),
    (
        r"limited (?:time )?offer|only \d+ left|while stocks last|(?:lowest|best|cheap) prices?\b|"
        r"save up to",
        "offer, left, stocks, price, save up",
    ),
    (
        r"(?:\$|€|£)\d[\d,.]* (?:a|per) (?:day|week|month|hour|night|page)\b|(?:only|from) (?:\$|€|£)\d",
        "$, €, £",
    ),
    (
        r"\bno (?:credit check|experience needed|virus|risk|prescription)\b|doctors hate",
        "no , doctors",
    ),
    (
        r"from home!|make money|cash in \d|extra income",
        "from home, money, cash in, income",
    ),
    (
        r"\bcasino|viagra|cialis|jackpot|first deposit|payday|easy loans|fast loans",
        "casino, viagra, cialis, jackpot, deposit, payday, loans",
    ),
    (
        r"\b(?:replica|designer|cheap|original|best) (?:bags|handbags|shoes|watches|pills|sunglasses)|"
        r"hot singles|followers for|stock tip|"
        r"cheap essays|full version|secret pill|simple trick",
        "bags, shoes, watches, pills, sunglasses, singles, followers, stock tip, essays, "
        "full version, pill, trick",
    ),
    (
        r"lose \d+ (?:kilos|pounds|kg)|you have won|congratulations",
        "lose , won, congratulations",
    ),
    (
        r"0800 ?\d|\b1-?800\b",
        "0800, 800",
    ),
    (
        r"加(?:我)?(?:微信|qq|群|v)|微信[:：同号]|微信[a-z0-9]{5}|qq[:：]?\d{5}|扫码",
        "微信, qq, 加群, 扫码",
    ),
    (
        r"(?:电话|热线|手机|咨询)[:：]?\s?(?:1[3-9]\d|0\d{2,3}|400)",
        "电话, 热线, 手机, 咨询",
    ),
    (
        r"限时|抢购|秒杀|特价|全场\d|包邮|货到付款|下单|折扣|点击\s?(?:http|www)",
        "限时, 抢购, 秒杀, 特价, 全场, 包邮, 货到付款, 下单, 折扣, 点击",
    ),
    (
        "代开|发票|(?:办理|代办)(?:各类)?证件|快速拿证",
        "代开, 发票, 证件, 拿证",
    ),
    (
        "批发|直销|直供|高仿|精仿|原单|名表|名包",
        "批发, 直销, 直供, 高仿, 精仿, 原单, 名表, 名包",
    ),
    (
        r"日赚|轻松赚|日结|周结|兼职|刷单|在家就能做|工资\d+到",
        "赚, 日结, 周结, 兼职, 刷单, 在家, 工资",
    ),
    (
        r"中奖|奖品|免费领|前\d+名免费|非诚勿扰|有意者|先到先得",
        "奖, 免费, 非诚勿扰, 有意者, 先到",
    ),
    (
        "无抵押|放款|到账|贷款|内幕|老师带你|赚大钱",
        "抵押, 放款, 到账, 贷款, 内幕, 老师带, 大钱",
    ),
    (
        r"娱乐(?:平台|城)|现金网|博彩|棋牌|百家乐|首存|送\d+%|赌场|彩票网",
        "娱乐, 现金网, 博彩, 棋牌, 百家乐, 首存, 送, 赌场, 彩票",
    ),
    (
        r"不反弹|\d天瘦|24小时服务|开锁|管道疏通|了解详情|热线",
        "反弹, 天瘦, 24小时, 开锁, 疏通, 详情, 热线",
    ),
)
