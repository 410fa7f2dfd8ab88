"""What went in, how cleaning judged it, and how the tokenizer cuts what is left."""

from __future__ import annotations

from danlu.evaluate.findings import ReportData, Tree
from danlu.evaluate.markup import Markup, bar, both, join, number, table, tag
from danlu.evaluate.sections.words import language_name, note, section, spaced

EXAMPLE_LENGTH = 70  # characters of a dropped text that are shown


def account(data: ReportData) -> Markup | None:
    """What was read, mended, dropped and kept, with the grade against known truth."""
    found = data.account
    if not found:
        return None
    return section(
        "data",
        "What went in",
        "输入了什么",
        totals(data.corpus),
        tallies(found.get("dropped", {}), both("dropped, by reason", "丢弃（按原因）")),
        tallies(found.get("mended", {}), both("mended", "修复")),
        masked_table(found.get("masked") or {}),
        tallies(found.get("kept", {}), both("kept, by part and language", "保留（按部分与语言）")),
        grades(found.get("grade") or {}, data.corpus),
    )


def totals(corpus: Tree) -> Markup:
    read, kept = corpus["read"], corpus["kept"]
    shown = [number(group[unit], form) for group in (read, kept) for unit, form in UNITS]
    return note(
        join(
            [shown[0], " in ", shown[1], " documents were read; ", shown[2], " in ", shown[3], " were kept."]
        ),
        join(["读入 ", shown[0], "（", shown[1], " 篇），保留 ", shown[2], "（", shown[3], " 篇）。"]),
    )


UNITS = (("bytes", "size"), ("documents", "integer"))


def tallies(groups: Tree, title: Markup) -> Markup | None:
    """Documents and bytes of each group, largest first, with a bar and the first example."""
    if not groups:
        return None
    most = max(group["documents"] for group in groups.values()) or 1
    rows = [
        (
            rule_name(name),
            number(group["documents"], "integer"),
            number(group["bytes"], "size"),
            bar(group["documents"] / most),
            example(group.get("examples") or []),
        )
        for name, group in sorted(groups.items(), key=lambda item: -item[1]["documents"])
    ]
    return table((title, both("documents", "篇数"), both("text", "文本"), "", ""), rows)


def example(examples: list[str]) -> Markup | None:
    """The beginning of the first one, on one line."""
    if not examples:
        return None
    words = " ".join(examples[0].split())
    return tag(
        "span", words[:EXAMPLE_LENGTH] + ("…" if len(words) > EXAMPLE_LENGTH else ""), class_="example"
    )


def masked_table(masked: Tree) -> Markup | None:
    """How many pieces of private data of each kind were replaced."""
    if not masked:
        return None
    rows = [(rule_name(kind), number(n, "integer")) for kind, n in masked.items()]
    return table((both("private data masked", "遮盖的隐私"), both("places", "处")), rows)


def grades(grade: Tree, corpus: Tree) -> Markup | None:
    """The grade of the cleaning, where the generator knows which document was dirt."""
    if not grade:
        return None
    clean = grade["clean"]
    lost, share = number(clean["lost"], "integer"), number(corpus["clean_lost_share"], "percent")
    rows = [
        (
            rule_name(name),
            number(kind["documents"], "integer"),
            number(kind["recall"], "percent"),
            number(kind["precision"], "percent"),
        )
        for name, kind in grade["by_kind"].items()
    ]
    headers = (
        both("known dirt", "已知的脏数据"),
        both("documents", "篇数"),
        both("handled, %", "处理率，%"),
        both("precision, %", "精确率，%"),
    )
    lead = note(
        join(
            [
                "This corpus is generated, so the truth is known. Clean documents lost: ",
                lost,
                " (",
                share,
                " %).",
            ]
        ),
        join(["语料由程序生成，真相已知。误删的干净文档：", lost, " 篇（", share, " %）。"]),
    )
    return join([lead, table(headers, rows)])


def rule_name(name: str) -> Markup:
    """A rule, a kind of dirt or private data, or a split and a language."""
    part, _, lang = name.partition(" ")
    if part in PARTS:
        return join([both(*PARTS[part]), " · ", language_name(lang)])
    return both(spaced(name), RULES.get(spaced(name), spaced(name)))


PARTS = {"train": ("training", "训练"), "held_out": ("held out", "留出")}
RULES = {
    "exact duplicate": "完全重复",
    "near duplicate": "近似重复",
    "boilerplate": "模板文字",
    "mojibake": "乱码",
    "markup": "标记",
    "advertisement": "广告",
    "junk": "垃圾",
    "private data": "隐私",
    "too short": "太短",
    "broken characters": "坏字符",
    "symbols": "符号过多",
    "few letters": "文字太少",
    "foreign language": "其他语言",
    "gibberish": "胡言",
    "monotony": "用词单调",
    "repetition": "反复",
    "duplicate lines": "重复行",
    "keywords": "关键词堆砌",
    "list of links": "链接列表",
    "email": "邮箱",
    "ip": "IP 地址",
    "phone": "电话",
    "id": "身份证号",
    "card": "银行卡号",
    "account": "账号",
}


def tokenizer(data: ReportData) -> Markup | None:
    """Vocabulary and bytes per token by language."""
    summary = data.summary("tokenizer")
    ratios: Tree = summary.get("bytes_per_token", {})
    if not ratios:
        return None
    largest = max(ratios.values())
    rows = [
        (language_name(lang), number(ratio, "two"), bar(ratio / largest)) for lang, ratio in ratios.items()
    ]
    size = number(summary.get("vocab_size"), "integer")
    return section(
        "tokenizer",
        "Tokenizer",
        "分词器",
        note(
            join([size, " tokens. More bytes a token means shorter sequences for the same text."]),
            join(["词表 ", size, "。每个词元字节越多，同样的文字序列越短。"]),
        ),
        table(("", both("bytes a token", "字节／词元"), ""), rows),
    )
