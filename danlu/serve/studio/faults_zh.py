"""英文报错的中文说法：左边是报错的句式，花括号处是随情况而变的内容。"""

from __future__ import annotations

# 反馈库
_STORE = {
    "no event has the id {id}; it may be of another database": (
        "没有编号为 {id} 的记录，它可能属于另一个数据库。"
    ),
    "the id {id} is already that of another {kind}; send a new one": (
        "编号 {id} 已属于另一条{kind}，请换一个新编号。"
    ),
    "{kind} {id} says something else than the {other} of that id which is already here; an event never "
    "changes. Nothing was taken in": (
        "{kind} {id} 与库中同编号的{other}内容不同。记录一经保存就不再改变，这次没有导入任何内容。"
    ),
    "{kind} {id} refers to {other}, which is neither here nor before it in the file; take in the file that "
    "it comes from first. Nothing was taken in": (
        "{kind} {id} 引用了 {other}，但库中和文件前文里都没有它。请先导入它所在的文件；这次没有导入任何内容。"
    ),
    "the {kind} refers to {id}, which is not here; it may be of another database": (
        "这条{kind}引用的 {id} 不在这里，它可能属于另一个数据库。"
    ),
    "the {kind} refers to {id}, a {found}; it must be a {wanted}": (
        "这条{kind}引用了 {id}，那是{found}；应当是{wanted}。"
    ),
    "{one} or {other}": "{one}或{other}",
    "the turn above, {id}, is in another conversation, {there}": "上一轮 {id} 属于另一段对话（{there}）。",
    "{id} answers another turn than {turn}; an edit stands beside it": (
        "{id} 回答的不是 {turn} 这一轮；改写应与原回答处在同一位置。"
    ),
    "the completions answer different turns; only answers to one turn can be compared": (
        "这些回答对应的不是同一轮提问，只有同一轮的回答才能比较。"
    ),
    "{id} is no task": "{id} 不是任务。",
    "the task is to {do}; a {kind} does not do it": "这个任务要求{do}，{kind}不能完成它。",
    "the task was withdrawn meanwhile and takes no answer any more; skip it, or ask for the next one": (
        "这个任务已被撤回，不再接受答案。请跳过它，做下一个。"
    ),
    "the completions are not those of the task; each of them needs a rank": (
        "提交的回答与任务中的不一致，任务中的每个回答都要有名次。"
    ),
    "{person} has already done this task ({before}); undo that first": (
        "{person} 已经做过这个任务（记录 {before}）。要重做，请先撤销那一次。"
    ),
    "the {kind} {id} is by {person}; only they can take it back": (
        "{kind} {id} 是 {person} 提交的，只有本人才能撤回。"
    ),
    "the {kind} {id} has already been taken back": "{kind} {id} 已经撤回过了。",
    "{db}: the disk is full, and this was not accepted; all that was accepted before is safe. Make room and "
    "send it again": "没有保存：磁盘已满。先前接受的内容都还在。请腾出空间后再试。",
    "{db}: {why}; this was not accepted, and all that was accepted before is safe": (
        "没有保存：数据库报告“{why}”。先前接受的内容都还在，请稍后再试；仍不行时请告诉管理员。"
    ),
    "database is locked": "数据库正忙",
    "attempt to write a readonly database": "数据库文件是只读的",
    "disk I/O error": "磁盘读写出错",
    "unable to open database file": "打不开数据库文件",
    "{db}: is no SQLite database": "{db} 不是 SQLite 数据库。",
}

# 记录的内容
_RECORDS = {
    "{n} token_ids but {m} logprobs; each token needs one": (
        "有 {n} 个 token_ids，却有 {m} 个 logprobs，应当一一对应。"
    ),
    "the demonstration is empty; it must be the answer to learn from": (
        "示范是空的，应当写出供模型学习的回答。"
    ),
    "{n} completions; a ranking needs {least} to {most} different ones": (
        "有 {n} 个回答；排序需要 {least} 到 {most} 个互不相同的回答。"
    ),
    "ranks are {ranks}; {n} are needed, counting from 1, which is best": (
        "名次是 {ranks}；需要 {n} 个，从 1（最好）数起。"
    ),
    "strengths are {strengths}; {n} numbers of at least 0 are needed, how much better each rank is than "
    "the next": "强度是 {strengths}；需要 {n} 个不小于 0 的数，表示每一名比下一名好多少。",
    "flags for {m} completions; there are {n}": "给 {m} 个回答做了标记，而回答有 {n} 个。",
    "shown is {shown}; it must order the numbers 0 to {last}": (
        "显示顺序是 {shown}；应当是 0 到 {last} 的一个排列。"
    ),
    "the {scale} is {value}; it must be one of {allowed}": "{scale}是 {value}；只能是 {allowed} 之一。",
    "a persona needs a name and a system prompt": "人设需要名称和系统提示词。",
    "{n} completions to {do}; such a task has {least} to {most}": (
        "要{do}的回答有 {n} 个；这类任务应有 {least} 到 {most} 个。"
    ),
    "the completions of a task must be different nodes": "一个任务里的回答必须互不相同。",
    "overlap is {n}; at least one person must do a task": "每个任务由 {n} 人完成；至少要有一人。",
    "gold ranks are {gold}; a ranking task of {n} needs {m} from 1 up": (
        "标准名次是 {gold}；{n} 个回答的排序任务需要 {m} 个从 1 起的名次。"
    ),
    "has no {name}; an event needs 'id', 'kind', 'at' and what it says": (
        "缺少 {name}；一条记录要有 'id'、'kind'、'at' 和内容。"
    ),
    "is of the kind {kind}; known here: {known}": "类型是 {kind}；这里认识的类型有：{known}。",
    "{kind}: {key}: expected {wanted}, got {found}": "{kind}的 {key} 应为 {wanted}，实际是 {found}。",
    "{kind}: {key}: required, but not set": "{kind}缺少必需的 {key}。",
    "{kind}: {key}: unknown key, {hint}": "{kind}里有不认识的字段 {key}（{hint}）。",
    "cannot be written as JSON: {why}": "无法写成 JSON：{why}",
    "the id {id} is not one of this store; ids are 32 hexadecimal digits": (
        "编号 {id} 不是这里的编号；编号是 32 位十六进制数。"
    ),
    "the name {name} cannot be used; it must be one line of at most 200 characters": (
        "不能使用名称 {name}；名称应为一行文字，最多 200 个字符。"
    ),
    "the time is {at}; it must be in ISO 8601": "时间是 {at}；应为 ISO 8601 格式。",
    "seconds is {seconds}; it must be at least 0": "用时是 {seconds} 秒；不能小于 0。",
    "{id} is a {kind}, which has no text": "{id} 是{kind}，没有正文。",
    "the prompt is empty; it must end with what was answered": "提示词是空的；它应以被回答的那一轮结尾。",
    "the id {id} was that of another {kind} further up in the file": (
        "编号 {id} 在文件前文中已属于另一条{kind}。"
    ),
}

# 账号
_ACCOUNTS = {
    "the name is empty; an account needs one": "账号需要名称。",
    "{name} has an account already; choose another name": "{name} 已有账号，请换一个名称。",
    "{name} is the last active admin; make somebody else one first": (
        "{name} 是最后一位可用的管理员，请先让别人成为管理员。"
    ),
    "scopes are {scopes}; {person} ({role}) may give some of {own}": (
        "权限是 {scopes}；{person}（{role}）只能授予 {own} 中的权限。"
    ),
    "no key {id} is in force": "没有生效的密钥 {id}，它可能已被吊销。",
    "the password has {n} characters; at least {least} are needed": (
        "密码只有 {n} 个字符，至少要 {least} 个。"
    ),
    "{name} has no account": "没有名为 {name} 的账号。",
    "the role is {role}; it must be one of {roles}": "角色是 {role}；只能是 {roles} 之一。",
    "quota is {quota}; it must be at least 0, which is no quota of one's own": (
        "额度是 {quota}；不能小于 0，0 表示没有单独的额度。"
    ),
}

# 对话文件与制作任务
_FILES = {
    "the file is no JSON; choose one that the studio has exported": "文件不是 JSON，请选择从这里导出的文件。",
    "the file has no 'messages'; choose one that the studio has exported": (
        "文件里没有 'messages'，请选择从这里导出的文件。"
    ),
    "the file has {n} messages; at most {most} are taken in": "文件有 {n} 条消息，最多导入 {most} 条。",
    "message {number} stands below one that does not come before it": (
        "第 {number} 条消息的上一条没有排在它前面。"
    ),
    "message {number}: {why}": "第 {number} 条消息：{why}",
    "{n} answers to a prompt; to {do} there must be {least} to {most}": (
        "每条提示词 {n} 个回答；要{do}，应有 {least} 到 {most} 个。"
    ),
    "no model was chosen; choose at least one": "还没有选择模型，请至少选一个。",
    "there are no prompts; write one a line, or choose a file": "没有提示词：请每行写一条，或选择一个文件。",
    "there are {n} prompts; at most {most} are taken at once": "有 {n} 条提示词，一次最多 {most} 条。",
    "{where} is no JSON, but the first line is; write records or plain text": (
        "{where}不是 JSON，而第一行是；请统一写成 JSON 记录，或统一写成纯文本。"
    ),
    "{where} is no JSON object; a record has 'prompt' or 'messages'": (
        "{where}不是 JSON 对象；记录应含 'prompt' 或 'messages'。"
    ),
    "{where}: field 'completions' must be a list of texts": "{where}：字段 'completions' 应为文本列表。",
    "line {number}": "第 {number} 行",
    "line {number}: {why}": "第 {number} 行：{why}",
    "line {number} {why}": "第 {number} 行：{why}",
    "has fields {fields}, which is no prompt; expected 'prompt' or 'messages'": (
        "字段是 {fields}，其中没有提示词；应有 'prompt' 或 'messages'。"
    ),
    "field {name} is {found}; it must be a list of turns": "字段 {name} 是 {found}；应为若干轮消息的列表。",
    "field {name} is {found}; it must be text": "字段 {name} 是 {found}；应为文本。",
    "{where} is {found}; it must be an object with 'role' and 'content'": (
        "{where} 是 {found}；应为含 'role' 和 'content' 的对象。"
    ),
    "{where} is from {who}; roles are system, user, assistant and tool": (
        "{where} 的角色是 {who}；角色只能是 system、user、assistant 或 tool。"
    ),
    "{where} says {found}; content must be text": "{where} 的内容是 {found}；应为文本。",
}

# 对话格式
_CHAT = {
    "no messages; a conversation has at least one": "没有消息；一段对话至少要有一条。",
    "the last turn is from {who}; there is nothing to answer": "最后一轮来自 {who}，没有可回答的内容。",
    "{n} tool calls are without a result; an answer comes after the last": (
        "还有 {n} 次工具调用没有结果，要等最后一个结果之后才能回答。"
    ),
    "a turn of {who} holds a picture; this model reads text only": (
        "{who} 的一轮里有图片，而这个模型只读文本。"
    ),
    "the model sees pictures, but its tokenizer has no marker for them": (
        "模型能看图片，但它的分词器没有图片标记。"
    ),
    "turn {turn} is from {who}; a call before it has no result yet": (
        "第 {turn} 轮来自 {who}，但它前面的工具调用还没有结果。"
    ),
    "turn {turn} answers another call than the first that has no result yet": (
        "第 {turn} 轮回答的不是第一个还没有结果的调用。"
    ),
    "turn {turn}: 'tool_calls' must be a list, in a turn of the assistant": (
        "第 {turn} 轮：'tool_calls' 应为列表，且只能出现在 assistant 的轮次。"
    ),
    "turn {turn}: call {number} is no call; it must have 'id' and 'function' with 'name' and 'arguments', "
    "all text, the name without a line break": (
        "第 {turn} 轮：第 {number} 个调用不合格式；应有 'id' 和含 'name'、'arguments' 的 'function'，"
        "都是文本，名称不能换行。"
    ),
    "turn {turn}: 'images' must be a list, in a turn of the user": (
        "第 {turn} 轮：'images' 应为列表，且只能出现在 user 的轮次。"
    ),
    "turn {turn}: image {number} is no image; it must have 'url', a text, and 'at', a place among the "
    "characters of the content and not before that of the last image": (
        "第 {turn} 轮：第 {number} 张图片不合格式；应有文本 'url' 和位置 'at'，"
        "位置在正文之内，且不早于上一张图片。"
    ),
    "turn {turn}: {what} is {found}; it must be text": "第 {turn} 轮：{what} 是 {found}，应为文本。",
    "turn {turn}: {what} is missing; it must be text": "第 {turn} 轮：缺少 {what}，它应为文本。",
    "turn {turn} is from {who}; a turn is from one of {speakers}": (
        "第 {turn} 轮来自 {who}；发言者只能是 {speakers} 之一。"
    ),
    "turn {turn} is from 'system'; only the first may be": (
        "第 {turn} 轮来自 'system'，只有第一轮可以是 'system'。"
    ),
    "turn {turn} is from {who} like turn {before}; roles must alternate": (
        "第 {turn} 轮与第 {before} 轮都来自 {who}，角色应当轮流。"
    ),
    "turn {turn} is from {who} and follows {before}; expected {wanted}": (
        "第 {turn} 轮来自 {who}，接在 {before} 之后；这里应当是 {wanted}。"
    ),
    "turn {turn} is from {who} and comes first; expected {wanted}": (
        "第 {turn} 轮来自 {who}，却排在最前；这里应当是 {wanted}。"
    ),
}

# 模型作答
_ANSWERING = {
    "not finished after {seconds} seconds": "过了 {seconds} 秒还没有完成。",
    "not finished after {seconds} seconds; ask for less": "过了 {seconds} 秒还没有完成，请缩短要求。",
    "the model went on calling tools; what it said without their results is kept": (
        "模型不停地调用工具；没有等到结果的那些话已保留。"
    ),
    "the context is full; this reply cannot go on": "上下文已满，这个回答无法继续。",
    "the prompt has {n} tokens; with room for an answer it must be shorter than {most}": (
        "提示词有 {n} 个词元；要留出回答的空间，须少于 {most} 个。"
    ),
    "the prompt has {n} tokens and the context holds {most}; shorten the prompt to at most {fit}, so that "
    "an answer fits": "提示词有 {n} 个词元，上下文只有 {most} 个；请缩短到 {fit} 个以内，好放下回答。",
    "a text has at least {n} tokens; the model reads {most}": (
        "文本至少有 {n} 个词元，而模型最多读 {most} 个。"
    ),
    "at most {n} requests of a key run at a time": "你已有 {n} 个请求在进行，请等其中一个完成再试。",
    "at most {n} completions wait or run at a time": "服务器正忙：已有 {n} 个回答在排队或进行，请稍后再试。",
    "there is no such model; models are: {models}": "没有这个模型；现有的模型：{models}。",
    "this model reads text only": "这个模型只读文本。",
    "the server has ended": "服务器已停止。",
    "the engine has failed: {kind}": "推理引擎出错（{kind}）。请重新启动工作室，问题仍在时请看服务器日志。",
    "{key}: Input should be greater than or equal to {least}": "{key} 不能小于 {least}。",
    "{key}: Input should be less than or equal to {most}": "{key} 不能大于 {most}。",
    "{key}: Input should be greater than {least}": "{key} 必须大于 {least}。",
    "{key}: Input should be a valid integer": "{key} 应为整数。",
    "{key}: Input should be a finite number": "{key} 应为有限的数。",
    "no lesson has made a reward model yet; begin one on the page Teach": (
        "还没有哪次训练得出奖励模型，请在“教学”页训练一个。"
    ),
    "the newest reward model, {path}, cannot be used: {why}": "最新的奖励模型 {path} 无法使用：{why}",
    "it reads other tokens than the model that is served": "它的词表与正在使用的模型不同",
}

# 训练
_TRAINING = {
    "no model is called {name}; it may have been removed": "没有名为 {name} 的模型，它可能已被移除。",
    "PPO needs a reward model; train one first": "PPO 需要奖励模型，请先训练一个。",
    "the lesson {name} is {state}; there is nothing to go on with": (
        "训练 {name} {state}，没有可以继续的内容。"
    ),
    "{path} is broken; begin a new lesson": "{path} 已损坏，请开始一次新的训练。",
    "the lesson {name} is not running": "训练 {name} 没有在运行。",
    "the lesson {name} has made no model, or it was removed": "训练 {name} 没有得出模型，或者模型已被移除。",
    "there is no lesson {name}; it may have been removed": "没有训练 {name}，它可能已被移除。",
    "the lesson {name} is running; wait for its end, or stop it first": (
        "训练 {name} 正在运行，请等它结束，或先停止它。"
    ),
    "another lesson is just being begun; look again": "另一次训练刚刚开始，请稍后再看。",
    "the lesson {name} is running already": "训练 {name} 已在运行。",
    "the model of the lesson {name} cannot be loaded: {why}": "训练 {name} 的模型无法载入：{why}",
    "could not {what}: {why}; see that there is room, and that danlu may write to the folder of runs, then "
    "try again. Nothing was lost": (
        "未能{what}：{why}。请确认磁盘有空间、danlu 能写入运行目录，然后再试。没有丢失任何内容。"
    ),
    "begin the lesson": "开始训练",
    "go on with the lesson": "继续训练",
    "remember that the model is in use": "记下正在使用的模型",
    "No space left on device": "磁盘已满",
    "Permission denied": "没有权限",
    "Read-only file system": "文件系统是只读的",
    "No such file or directory": "没有这个文件或目录",
    "Is a directory": "这是一个目录",
    "Input/output error": "读写出错",
    "Stale file handle": "文件已失效",
}

# 数据与透视
_LOOKING = {
    "no data set here is called {name}; it may have been moved or removed": (
        "没有名为 {name} 的数据集，它可能已被移动或移除。"
    ),
    "{name} cannot be read: {why}": "无法读取 {name}：{why}。",
    "{name}: its index is broken; tokenize the corpus again": "{name} 的索引已损坏，请重新对语料分词。",
    "{path} writes no text; choose a language model": "{path} 不能写文本，请选择语言模型。",
    "there is nothing to read": "没有可读的内容。",
    "the tokenizer gives token {id}, but the model knows {n}; it was trained with another one": (
        "分词器给出词元 {id}，而模型只认识 {n} 个；模型训练时用的是另一个分词器。"
    ),
    "{path} is no decoder; `danlu attention` draws what it looks at": (
        "{path} 不是解码器；可用 `danlu attention` 画出它的注意力。"
    ),
    "this model writes no text; choose a language model as the policy": (
        "这个模型不能写文本，请选择语言模型作为策略。"
    ),
    "the prompt has {n} tokens, and leaves the model no room for an answer": (
        "提示词有 {n} 个词元，没有给回答留出空间。"
    ),
    "{model} gives no scores; choose a reward model": "{model} 不会打分，请选择奖励模型。",
    "these shards were made with another tokenizer than this model's; choose a model that was trained on "
    "them": "这些分片用的分词器与模型的不同，请选择用它们训练的模型。",
    "{source}:{line} has no field 'text', which pretraining reads; choose another stage": (
        "{source}:{line} 没有预训练要读的字段 'text'，请选择别的阶段。"
    ),
}

CHINESE = {**_STORE, **_RECORDS, **_ACCOUNTS, **_FILES, **_CHAT, **_ANSWERING, **_TRAINING, **_LOOKING}

# 花括号处的这些内容也要翻译，其余的（名称、编号、数）原样照录
NESTED = frozenset(
    ("kind", "other", "found", "wanted", "one", "do", "state", "what", "where", "why", "scale", "role")
)
# 其中会出现的词
WORDS = {
    "conversation": "对话",
    "message": "消息",
    "demonstration": "示范",
    "edit": "改写",
    "rename": "改名",
    "hide": "隐藏",
    "persona": "人设",
    "task": "任务",
    "ranking": "排序",
    "verdict": "裁定",
    "rating": "评分",
    "flag": "标记",
    "comment": "备注",
    "skip": "跳过",
    "undo": "撤销",
    "rank": "排序",
    "rate": "评分",
    "demonstrate": "写示范",
    "thumb": "好评或差评",
    "grade": "评分",
    "running": "正在运行",
    "done": "已完成",
    "stopped": "已停止",
    "died": "意外中断",
    "admin": "管理员",
    "trainer": "训练员",
    "annotator": "标注员",
    "guest": "访客",
    "text": "文本",
    "integer": "整数",
    "number": "数",
    "true or false": "true 或 false",
    "table": "表",
    "list of text": "文本列表",
    "list of integer": "整数列表",
    "list of number": "数的列表",
}
