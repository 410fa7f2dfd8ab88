"""Hostile strings wherever data comes from: none becomes a control token, a call, a write, a script."""

from __future__ import annotations

import json
import sqlite3
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
from hostile import CATEGORIES, HOSTILE, MARKERS
from jinja2.sandbox import ImmutableSandboxedEnvironment

from danlu.cli import main
from danlu.dialogue.summary import summarised, summarising
from danlu.dialogue.tool_loop import ToolLoop
from danlu.evaluate import markup
from danlu.tokenizer.bpe import SMALLEST_VOCAB, Tokenizer, TokenizerError
from danlu.tokenizer.chat import ChatFormat, Message
from danlu.tools import builtin
from danlu.tools.calculator.calculate import calculate
from danlu.tools.data_text import as_text
from danlu.tools.error import ToolError
from danlu.tools.protocol import Call, Toolbox, ToolLimits, tool
from danlu.tools.search.answer import ask, verify
from danlu.tools.search.index import Index
from danlu.tools.sql.database import Database, SqlLimits, check_names
from danlu.tools.sql.syntax import read
from danlu.tools.sql.tokens import quoted
from danlu.tools.visible import UNSAFE_CATEGORIES, one_line, visible, whole_unicode

CALL: Message = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "search", "arguments": "{}"}}],
}
PATIENT = SqlLimits(wall_s=600)  # a loaded machine may stand still for a while
ENCODABLE = [each for each in HOSTILE if each == whole_unicode(each)]


@pytest.fixture(scope="module")
def chat() -> ChatFormat:
    return ChatFormat(Tokenizer.train([], SMALLEST_VOCAB))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, in which a canary would be found."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def controls(chat: ChatFormat, ids: list[int]) -> list[int]:
    return [each for each in ids if each in chat.tokenizer.control_ids]


def refusal(attempt: Callable[[], object]) -> str:
    """What an attempt is refused with; nothing if it is not."""
    try:
        attempt()
    except ToolError as error:
        return str(error)
    return ""


def is_safe_to_show(text: str) -> bool:
    return all(each in "\n\t" or unicodedata.category(each) not in UNSAFE_CATEGORIES for each in text)


def test_there_are_more_than_three_hundred_of_seven_kinds():
    assert len(HOSTILE) >= 300
    assert all(len(category) >= 25 for category in CATEGORIES.values())


def test_no_message_brings_a_control_token(chat: ChatFormat):
    """Whoever says it: the user, the system, a tool, and a model's own arguments that quote it."""
    start, end = chat.tokenizer.im_start_id, chat.tokenizer.im_end_id
    for text in ENCODABLE:
        arguments = json.dumps({"q": text}, ensure_ascii=False)
        call: Message = {
            **CALL,
            "tool_calls": [{**CALL["tool_calls"][0], "function": {"name": "f", "arguments": arguments}}],
        }  # type: ignore[typeddict-item]
        messages: list[Message] = [
            {"role": "system", "content": text},
            {"role": "user", "content": text},
            call,
            {"role": "tool", "content": text},
        ]
        ids = chat.prompt(messages, [{"name": "f", "description": text}])
        expected = [start, start, end, start, end, start, start, end, start, end, start]
        assert controls(chat, ids) == expected, text


def test_no_result_of_a_loop_is_more_than_data(chat: ChatFormat):
    """A tool gives back hostile text, then the model repeats it: no control token, and no further call."""
    start, end = chat.tokenizer.im_start_id, chat.tokenizer.im_end_id
    n_run = 0
    given = ""

    def search() -> str:
        """Find something."""
        nonlocal n_run
        n_run += 1
        return given

    box = Toolbox([tool(search)], ToolLimits(wall_s=600))
    question: Message = {"role": "user", "content": "?"}
    for number, text in enumerate(HOSTILE, start=1):
        given = text
        loop = ToolLoop(box)
        loop.take(CALL)
        ids = chat.prompt([question, *loop.said], box.schemas)
        assert controls(chat, ids) == [start, start, end, start, end, start, start, end, start, end, start], (
            text
        )
        repeated = loop.said[-1]["content"]
        loop.take(chat.parse([*chat.tokenizer.encode(repeated), end]))
        assert (loop.ending, n_run) == ("answer", number)


def test_no_summary_brings_a_control_token_or_reaches_the_system(chat: ChatFormat):
    """Somebody has planted a text in a long conversation, and the model takes it over into its summary."""
    for text in ENCODABLE[::9]:
        turns: list[Message] = [{"role": "system", "content": "Be kind."}]
        for _ in range(6):
            turns += [{"role": "user", "content": text}, {"role": "assistant", "content": "x" * 60}]
        turns.append({"role": "user", "content": "?"})
        room = len(chat.prompt(turns)) * 3 // 4
        found = summarised(summarising(chat, turns, room=room), lambda _, text=text: text)
        assert found.left_out
        assert found.messages[0] == turns[0]
        ids = chat.prompt(found.messages)
        start, end = chat.tokenizer.im_start_id, chat.tokenizer.im_end_id
        assert controls(chat, ids) == [*[start, end] * len(found.messages), start], text


def test_half_a_surrogate_pair_in_a_message_is_refused(chat: ChatFormat):
    for text in set(HOSTILE) - set(ENCODABLE):
        with pytest.raises(TokenizerError, match="half a surrogate pair"):
            chat.prompt([{"role": "user", "content": text}])


def test_no_text_that_a_model_writes_is_a_call(chat: ChatFormat):
    for text in ENCODABLE:
        assert chat.parse([*chat.tokenizer.encode(text), chat.tokenizer.im_end_id]) == {
            "role": "assistant",
            "content": text,
        }


def test_a_tool_result_holds_its_data_and_no_marker():
    for text in HOSTILE:
        result = as_text({"found": text, text: [text]}, 10_000)
        kept = whole_unicode(text)
        assert json.loads(result) == {"found": kept, kept: [kept]}
        assert not any(marker in result for marker in MARKERS if marker.startswith("<"))
        assert not any(tag in result.lower() for tag in ("<script", "<img", "<svg", "<iframe", "<!--"))
        assert is_safe_to_show(result)


def test_no_tool_result_brings_a_control_token_to_a_program_that_reads_the_exported_template(
    chat: ChatFormat,
):
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(chat.template)
    exported = tokenizers.Tokenizer.from_str(chat.tokenizer.to_json())
    for text in HOSTILE:
        messages = [
            {"role": "user", "content": "?"},
            CALL,
            {"role": "tool", "content": as_text(text, 10_000)},
        ]
        ids = exported.encode(template.render(messages=messages, add_generation_prompt=True)).ids
        assert len(controls(chat, ids)) == 2 + 3 + 2 + 1, text


def test_no_tool_name_or_argument_does_more_than_fail(here: Path, chat: ChatFormat):
    box = Toolbox([builtin.calculator()], ToolLimits(wall_s=600))
    for text in HOSTILE:
        for call in (
            Call("1", text, "{}"),
            Call("2", "calculator", text),
            Call("3", "calculator", json.dumps({text: "1"})),
            Call("4", "calculator", json.dumps({"expression": text})),
        ):
            result = box.call(call)
            assert not controls(chat, chat.tokenizer.encode(result.content))
            assert not any(marker in result.content for marker in MARKERS if marker.startswith("<"))
            if not result.ok:
                assert set(json.loads(result.content)) == {"error"}
    assert not list(here.iterdir())


def test_no_expression_runs(here: Path):
    for text in HOSTILE:
        assert is_safe_to_show(refusal(lambda text=text: calculate(text)))
        if not refusal(lambda text=text: calculate(text)):
            assert is_safe_to_show(calculate(text))
    assert not list(here.iterdir())


def test_documents_and_their_names_are_quoted_and_never_obeyed(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "documents"
    folder.mkdir()
    named = [each for each in ENCODABLE if "/" not in each and "\0" not in each and len(each.encode()) < 200]
    for number, text in enumerate(ENCODABLE):
        name = text if text in named and text not in (".", "..") else f"document {number}"
        content = text.replace("\0", "") + f"\n\nThe lighthouse {number} says {text}".replace("\0", "")
        (folder / f"{name}.txt").write_text(content, encoding="utf-8")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    index = Index.of(folder, tmp_path / "index.db")
    changes = index.update()
    assert changes.added + len(changes.left_out) == len(
        [path for path in before if not path.name.startswith(".")]
    )
    for text in ENCODABLE[::7]:
        said = refusal(lambda text=text: check_citations(index, f"lighthouse {text}"))
        assert is_safe_to_show(said)
        assert "does not stand there" not in said
    assert main(["ask", str(folder), "What does the lighthouse say?", f"index={tmp_path / 'index.db'}"]) == 0
    shown = capsys.readouterr().out
    assert "lighthouse" in shown
    assert is_safe_to_show(shown)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert not list(here.iterdir())


def check_citations(index: Index, question: str) -> None:
    for citation in ask(index, question).citations:
        verify(index, citation)


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database whose cells, tables and columns are hostile."""
    path = tmp_path_factory.mktemp("sql") / "poisoned.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (id integer, text)")
        connection.executemany("insert into t values (?, ?)", enumerate(ENCODABLE))
        usable = [each for each in ENCODABLE if "\0" not in each]
        for number in range(0, 60, 2):
            name = f"{usable[-1 - number]} {number}"
            connection.execute(f"create table {quoted(name)} ({quoted(usable[-2 - number])} text)")
    connection.close()
    return path


def test_cells_come_out_as_they_went_in_and_safe_to_show(
    here: Path, poisoned: Path, chat: ChatFormat, capsys: pytest.CaptureFixture[str]
):
    before = poisoned.read_bytes()
    box = Toolbox([builtin.database(Database(poisoned, PATIENT))], ToolLimits(wall_s=600))
    for first in range(0, len(ENCODABLE), 150):
        limited = f"SELECT id, text FROM t WHERE id >= {first} ORDER BY id LIMIT 150"
        result = box.call(Call("1", "sql", json.dumps({"select": limited})))
        assert result.ok
        assert not controls(chat, chat.tokenizer.encode(result.content))
        assert not any(marker in result.content for marker in MARKERS if marker.startswith("<"))
    rows = Database(poisoned, PATIENT).select("SELECT text FROM t ORDER BY id LIMIT 200").rows
    assert [row[0] for row in rows] == ENCODABLE[:200]
    assert main(["sql", str(poisoned), "SELECT text FROM t ORDER BY id DESC", "limits.wall_s=600"]) == 0
    assert main(["sql", str(poisoned), "limits.wall_s=600"]) == 0
    assert is_safe_to_show(capsys.readouterr().out)
    assert poisoned.read_bytes() == before
    assert not list(here.iterdir())


def test_hostile_statements_name_nothing_that_is_there(here: Path, poisoned: Path):
    schema = Database(poisoned, PATIENT).schema()
    for text in HOSTILE:
        with pytest.raises(ToolError) as caught:
            check_names(read(text), schema)
        assert is_safe_to_show(str(caught.value))


def test_a_hostile_string_in_a_statement_stays_one_string():
    for text in ENCODABLE:
        if "\0" not in text:
            literal = "'" + text.replace("'", "''") + "'"
            assert (
                read(f"SELECT id FROM t WHERE text = {literal}").sql
                == f"SELECT id FROM t WHERE text = {literal}"
            )


def test_no_string_is_markup_in_a_page():
    for text in HOSTILE:
        assert "<" not in markup.safe(text)


def test_what_is_shown_on_a_terminal_moves_nothing():
    for text in HOSTILE:
        assert is_safe_to_show(visible(text))
        assert "\n" not in one_line(text)
