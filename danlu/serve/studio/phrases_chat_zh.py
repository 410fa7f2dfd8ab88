"""制作任务、工具、人设与多轮对比的中文用语。"""

from __future__ import annotations

CHATTING = {
    # 工具
    "sampling.tools": "模型可以调用",
    "step.asked": "调用参数",
    "step.given": "返回结果",
    "step.waits": "还没有结果",
    "step.text": "发给工具或工具返回的内容",
}
