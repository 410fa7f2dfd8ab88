"""制作任务、工具、人设与多轮对比的中文用语。"""

from __future__ import annotations

CHATTING = {
    # 工具
    "sampling.tools": "模型可以调用",
    "step.asked": "调用参数",
    "step.given": "返回结果",
    "step.waits": "还没有结果",
    "step.text": "发给工具或工具返回的内容",
    # 人设
    "persona.choose": "人设",
    "persona.keep": "把当前系统提示词存为人设",
    "persona.keep_about": "你已有的同名人设会被替换。",
    "persona.name": "人设名称",
    "persona.shared": "其他人也可以选用",
    "persona.empty": "人设需要名称，面板里也要写有系统提示词。",
    "persona.remove": "删除这个人设",
    "persona.of": "{name}（{person}）",
    # 制作任务
    "chat.rank": "把这些版本拿去排序",
    "chat.ranked": "{n} 个版本已成为一个排序任务，排序的人会看到这段对话。",
    "rank.make": "用提示词制作任务",
    "page.tasks": "制作任务",
    "tasks.about": "把提示词变成给人做的任务：由模型作答，每做好一个就进入队列。",
    "tasks.kind": "请人做什么",
    "tasks.rank": "给回答排序",
    "tasks.write": "撰写回答",
    "tasks.prompts": "提示词",
    "tasks.prompts_about": "每行一条：纯文本，或含 prompt 或 messages（可另带 completions）的 JSON 记录。",
    "tasks.file": "或选择文件：.txt 或 .jsonl",
    "tasks.no_text": "文件不是 UTF-8 文本（第 {place} 字节）。",
    "tasks.n": "每条提示词的回答数（2–9）",
    "tasks.overlap": "每个任务由几人完成",
    "tasks.draft": "由第一个模型先写草稿",
    "tasks.guideline": "任务旁显示的准则（留空则用通用准则）",
    "tasks.no_model": "已没有名为 {name} 的模型，请另选一个。",
    "tasks.make": "开始制作",
    "tasks.jobs": "正在制作的任务",
    "tasks.running": "制作中",
    "tasks.done": "已完成",
    "tasks.stopped": "已停止",
    "tasks.progress": "{all} 条提示词已处理 {n} 条，新增 {made} 个任务",
    "tasks.known": "其中 {n} 个任务原先就有。",
    "tasks.more_faults": "另有 {n} 条。",
    # 多轮对比
    "compare.follow": "接着这段对话问",
    "compare.follow_about": "它们都接着回答 {number} 往下说，谁答了什么会重新隐去。",
    "compare.follow_again": "上一个问题没有得到回答。可以再问一次，或者换个问题。",
    "compare.ask_on": "继续追问",
    "compare.keys_after": "按键：Enter 下一个问题，c 接着这段对话问。",
}
