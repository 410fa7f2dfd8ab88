"""The command line: `danlu <stage> [config.toml] [key=value …]`.

Every command is a module of `recipes` with `run(config)`, whose annotation says which dataclass holds its
settings, a one-line `SUMMARY` and, where words may stand without their key, `POSITIONAL`. Where the first
word decides which settings there are, `FORMS` has a dataclass for each such word and `choose(words)` picks
one. It is imported only when its command is given, for torch takes seconds.
"""

from __future__ import annotations

import ast
import difflib
import errno
import importlib
import inspect
import os
import re
import sys
import textwrap
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from io import StringIO, TextIOWrapper
from itertools import zip_longest
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from danlu import __version__
from danlu.config import ConfigError, key_of, load, toml_value, type_name

RECIPES = Path(__file__).parent / "recipes"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 is success, 2 a mistake of the input, 130 an interruption."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a character that a terminal lacks must not end a run
            stream.reconfigure(errors="replace")
    command, *words = sys.argv[1:] if argv is None else argv or ["--help"]
    try:
        return _command(command, words)
    except KeyboardInterrupt:
        goes_on = "; the same command goes on from the last checkpoint" if command in RESUMED else ""
        print(f"\ndanlu: stopped{goes_on}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, RuntimeError, OSError) as error:
        if not _of_the_input(error):
            raise
        print(f"danlu: {in_words(error)}", file=sys.stderr)
        return 2


def _command(command: str, words: Sequence[str]) -> int:
    if command in ("--help", "-h", "help"):
        print(_overview())
        return 0
    if command == "--version":
        print(__version__)
        return 0
    if command not in COMMANDS:
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"commands are {', '.join(COMMANDS)}"
        raise ConfigError(f"{command!r} is no command; {hint}")
    # Read when torch is loaded. Threads that spin long for each other stand still for milliseconds wherever
    # another process wants a core: measured, training at a sixtieth of its speed beside one busy neighbour.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    recipe = importlib.import_module(f"danlu.recipes.{command}")
    if any(word in ("--help", "-h") for word in words):
        print(_help(command, recipe, words))
        return 0
    choose = getattr(recipe, "choose", None)
    config, words = choose(words) if choose else (config_class(recipe), words)
    path, overrides = read_words(words, config, positional(recipe, config))
    recipe.run(load(config, path, overrides))
    return 0


def config_class(recipe: Any) -> type:
    """The dataclass that a recipe's `run` takes."""
    return get_type_hints(recipe.run)["config"]


def positional(recipe: Any, config: type) -> list[str]:
    """The settings that may stand without their key: of several forms each has its own; no table has one."""
    known = {field.name for field in fields(config) if not is_dataclass(field.default_factory)}
    return [name for name in getattr(recipe, "POSITIONAL", ()) if name in known]


def read_words(
    words: Sequence[str], config: type, unnamed: Sequence[str] = ()
) -> tuple[Path | None, list[str]]:
    """The config file and the overrides among the words of a command line.

    `--key value`, `--key=value` and `key=value` are the same; `--key` alone sets what is true or false. Other
    words are the `unnamed` settings in their order; if the last of these is a list, it takes all that follow.
    """
    path: Path | None = None
    overrides: list[str] = []
    known = {key_of(field.name) for field in fields(config)}
    switches = {row.key for row in settings(config) if row.type == type_name(bool)}
    places, rest, several = list(unnamed), list(words), list[str]()
    takes_several = (
        unnamed[-1:] if unnamed and get_origin(get_type_hints(config)[unnamed[-1]]) is tuple else []
    )
    while rest:
        word = rest.pop(0)
        key = re.match(r"[A-Za-z_][\w.-]*(?==)", word)
        if re.match(r"--[A-Za-z]", word):
            overrides.append(_option(word, rest, switches))
        elif key and key[0].split(".")[0] in known:
            overrides.append(word)
        elif word.endswith(".toml") and path is None:
            path = Path(word)
        elif key and not places:
            overrides.append(word)
        elif places == takes_several != []:
            several.append(word)
        elif places:
            overrides.append(f"{places.pop(0)}={toml_value(word)}")
        else:
            raise ConfigError(f"{word!r}: expected key=value or a config file that ends in .toml")
    overrides += [f"{places[-1]}={toml_value(several)}"] if several else []
    return path, overrides


def _option(word: str, rest: list[str], switches: set[str]) -> str:
    key, equals, value = word[2:].partition("=")
    key = key.replace("-", "_")
    if equals:
        return f"{key}={value}"
    if key in switches and rest[:1] not in (["true"], ["false"]):
        return f"{key}=true"
    if not rest:
        raise ConfigError(f"{word}: expected a value after it")
    return f"{key}={rest.pop(0)}"


def _of_the_input(error: Exception) -> bool:
    """Our own errors speak of the input, and so does the file system; any other is a fault of the program."""
    return isinstance(error, OSError) or type(error).__module__.startswith("danlu.")


def in_words(error: Exception) -> str:
    """What an error of the input means to whoever gave the command."""
    if not isinstance(error, OSError):
        return str(error)
    if error.errno == errno.ENOSPC:
        where = f" while writing {error.filename}" if error.filename else ""
        return f"the disk is full{where}; make room, and the same command goes on from the last checkpoint"
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def _overview() -> str:
    lines = ["danlu <command> [config.toml] [key=value …]", ""]
    lines += [f"  {command:<10} {_summary(command)}" for command in COMMANDS]
    return "\n".join([*lines, "", "danlu <command> --help shows its settings."])


def _summary(command: str) -> str:
    """The recipe's SUMMARY, read without importing it."""
    tree = ast.parse((RECIPES / f"{command}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "SUMMARY":
            return str(ast.literal_eval(node.value))
    return ""


def _help(command: str, recipe: Any, words: Sequence[str]) -> str:
    """The settings of a command; of one with several forms, those of the form that is named."""
    forms: dict[str, type] = getattr(recipe, "FORMS", {})
    form = next((word for word in words if word in forms), None)
    if form is not None:
        return _stage_help(f"{command} {form}", recipe, forms[form])
    if not forms:
        choose = getattr(recipe, "choose", None)
        given = [word for word in words if word not in ("--help", "-h")]
        return _stage_help(command, recipe, choose(given)[0] if choose else config_class(recipe))
    lines = [f"danlu {command} {'|'.join(forms)} [config.toml] [key=value …]", "", recipe.SUMMARY, ""]
    return "\n".join([*lines, f"danlu {command} {next(iter(forms))} --help shows the settings of that form."])


def _stage_help(command: str, recipe: Any, config: type) -> str:
    words = "".join(f" {name.upper()}" for name in positional(recipe, config))
    rows = list(settings(config))
    width = max(len(row.key) for row in rows)
    middle = min(32, max(len(row.default) for row in rows))
    lines = [f"danlu {command}{words} [config.toml] [key=value …]", "", recipe.SUMMARY, ""]
    for row in rows:
        lines.append(
            f"  {row.key:<{width}}  {row.default:<{middle}}  {row.type}" + f"; {row.doc}" * bool(row.doc)
        )
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of a command's help."""

    key: str
    type: str
    default: str
    doc: str


def settings(config: type, prefix: str = "", base: Any = None) -> Iterator[Setting]:
    """Every setting of a config, nested ones with their dotted key."""
    hints, docs = get_type_hints(config), _field_docs(config)
    for field in fields(config):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        default = default if base is None else getattr(base, field.name)
        key, hint = prefix + key_of(field.name), hints[field.name]
        if is_dataclass(hint) and isinstance(hint, type):
            yield from settings(hint, f"{key}.", None if default is MISSING else default)
            continue
        shown = "(required)" if default is MISSING else toml_value(default)
        yield Setting(key, type_name(hint), shown, docs.get(field.name, ""))


def _field_docs(config: type) -> dict[str, str]:
    """What the source says of each field: the comment behind it, or the one-line string below it."""
    docs: dict[str, str] = {}
    for cls in reversed([cls for cls in config.__mro__ if is_dataclass(cls)]):
        source = textwrap.dedent(inspect.getsource(cls))
        comments = {
            token.start[0]: token.string.lstrip("# ")
            for token in tokenize.generate_tokens(StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
        (tree,) = ast.parse(source).body
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for node, below in zip_longest(body, body[1:]):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                docs[node.target.id] = comments.get(node.end_lineno or 0, "") or _string(below)
    return docs


def _string(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return str(node.value.value)
    return ""


COMMANDS = (
    *(
        "run",
        "data",
        "pictures",
        "tokenizer",
        "pretrain",
        "sft",
        "reward",
        "ppo",
        "grpo",
        "rloo",
        "best_of_n",
    ),
    *("rlhf", "dpo", "classify", "evaluate", "doctor", "chat", "generate", "translate", "tool_tasks"),
    *("serve", "studio", "account", "key"),
    *("model", "import", "export", "merge", "attention", "calc", "index", "ask", "sql", "feedback"),
    *("instruct", "teach"),
)
# Cut off, they go on from a checkpoint.
RESUMED = {
    "run",
    "pretrain",
    "sft",
    "reward",
    "ppo",
    "rlhf",
    "grpo",
    "rloo",
    "best_of_n",
    "dpo",
    "classify",
    "translate",
    "instruct",
    "teach",
}
