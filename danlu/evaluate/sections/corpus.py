"""What went in, what cleaning dropped and how well it judged, and how the tokenizer cuts what was left."""

from __future__ import annotations

from danlu.evaluate.findings import ReportData, Tree
from danlu.evaluate.markup import Markup, bar, both, join, number, table
from danlu.evaluate.sections.words import language_name, note, section, spaced


def account(data: ReportData) -> Markup | None:
    """What was read and kept, by language and kind; what was dropped and why."""
    found = data.account
    if not found:
        return None
    return section(
        "data",
        "What went in",
        "输入了什么",
        totals(found),
        groups_table(
            found.get("languages", {}), both("kept, by language", "保留（按语言）"), by_language=True
        ),
        groups_table(found.get("kinds", {}), both("kept, by kind", "保留（按种类）")),
        groups_table(found.get("dropped", {}), both("dropped, by reason", "丢弃（按原因）")),
        truth_table(found.get("truth", {})),
    )


def totals(found: Tree) -> Markup:
    def words(of_documents: Markup | str, of_kept: Markup | str, of_dropped: Markup | str) -> Markup:
        return join(
            [
                number(found["bytes_read"], "size"),
                " / ",
                number(found["documents_read"], "integer"),
                of_documents,
                number(found["bytes_kept"], "size"),
                " / ",
                number(found["documents_kept"], "integer"),
                of_kept,
                of_dropped,
            ]
        )

    return note(words(" documents were read; ", " were kept", "."), words(" 篇读入；保留 ", " 篇", "。"))


def groups_table(groups: Tree, title: Markup, *, by_language: bool = False) -> Markup | None:
    """Documents and bytes of each group, largest first, with a bar."""
    if not groups:
        return None
    largest = max(group["bytes"] for group in groups.values()) or 1
    rows = [
        (
            language_name(name) if by_language else spaced(name),
            number(group["documents"], "integer"),
            number(group["bytes"], "size"),
            bar(group["bytes"] / largest),
        )
        for name, group in sorted(groups.items(), key=lambda item: -item[1]["bytes"])
    ]
    return table((title, both("documents", "篇数"), both("size", "大小"), ""), rows)


def truth_table(truth: Tree) -> Markup | None:
    """The grade of the cleaning, where the generator knows which document was dirt."""
    kinds: Tree = truth.get("kinds", {})
    if not kinds:
        return None
    rows = [
        (
            spaced(name),
            number(kind["made"], "integer"),
            number(kind["caught"], "integer"),
            number(kind["share"], "percent"),
        )
        for name, kind in kinds.items()
    ]
    headers = (both("known dirt", "已知的脏数据"), both("put in", "放入"), both("caught", "查出"), "%")
    graded = note(
        join(
            [
                "This corpus is generated, so the truth is known: of what cleaning dropped, ",
                number(truth["precision"], "percent"),
                " % was dirt; of the dirt, ",
                number(truth["recall"], "percent"),
                " % was caught.",
            ]
        ),
        join(
            [
                "语料由程序生成，真相已知：丢弃的内容中 ",
                number(truth["precision"], "percent"),
                " % 确为脏数据；脏数据中 ",
                number(truth["recall"], "percent"),
                " % 被查出。",
            ]
        ),
    )
    return join([graded, table(headers, rows)])


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
    lead = [number(summary.get("vocab_size"), "integer")]
    return section(
        "tokenizer",
        "Tokenizer",
        "分词器",
        note(
            join([*lead, " tokens. More bytes a token means shorter sequences for the same text."]),
            join(["词表 ", *lead, "。每个词元字节越多，同样的文字序列越短。"]),
        ),
        table(("", both("bytes a token", "字节／词元"), ""), rows),
    )
