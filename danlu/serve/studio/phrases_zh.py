"""中文界面的用语。"""

from __future__ import annotations

CHINESE = {
    # 页面框架
    "frame.brand": "丹炉",
    "frame.navigation": "页面导航",
    "frame.menu": "显示或隐藏导航",
    "frame.light": "浅色主题",
    "frame.dark": "深色主题",
    "frame.account": "账号",
    "frame.sign_out": "退出登录",
    "page.chat": "对话",
    "page.compare": "对比",
    "page.rank": "排序",
    "page.demonstrate": "示范",
    "role.admin": "管理员",
    "role.trainer": "训练员",
    "role.annotator": "标注员",
    "role.guest": "访客",
    "refused.page": "你的角色（{role}）不能打开这个页面，管理员可以调整。",
    "refused.role": "没有执行：你的角色（{role}）已无此权限。",
    "refused.signed_out": "没有执行：你已退出登录，请刷新页面重新登录。",
    # 登录
    "sign_in.title": "登录",
    "sign_in.name": "用户名",
    "sign_in.password": "密码",
    "sign_in.do": "登录",
    "sign_in.wrong": "用户名与密码不符，或账号已停用。",
    "sign_in.later": "尝试次数过多，请等 {seconds} 秒再试。",
}
