"""Configuration: a TOML file plus dotted overrides become one frozen dataclass, and back.

A key is matched against the dataclass's fields, a value against the field's annotation. What a file or the
command line leaves out keeps its default, also inside a nested dataclass that is partly set.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

UNSET = "none"  # TOML has no null: this word stands for None where the field admits it


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type, or impossible together with another."""


def load(cls: type[T], path: Path | None = None, overrides: Sequence[str] = ()) -> T:
    """The settings in a TOML file (if any), then each `a.b=value` on top of them, as a `cls`."""
    tree = {} if path is None else read_toml(path)
    for override in overrides:
        _override(tree, override)
    return build(cls, tree)


def build(cls: type[T], tree: Mapping[str, Any], *, prefix: str = "", base: T | None = None) -> T:
    """A `cls` from plain values; fields the tree does not mention come from `base` or their defaults.

    Args:
        prefix: dotted key of this table, for the messages.
    """
    hints = {key_of(name): hint for name, hint in _hints(cls).items()}
    known = {key_of(field.name): field for field in fields(cast(Any, cls)) if field.init}
    for key in tree:
        if key not in known:
            raise ConfigError(f"{_join(prefix, key)}: unknown key, {_suggest(key, prefix, hints)}")
    if base is None:
        _require(known, tree, prefix)
    values: dict[str, Any] = {}
    for key, value in tree.items():
        name = known[key].name
        default = _default(known[key]) if base is None else getattr(base, name)
        values[name] = _convert(hints[key], value, _join(prefix, key), default)
    try:
        return cls(**values) if base is None else replace(cast(Any, base), **values)
    except ValueError as error:  # an impossible relation, found by __post_init__
        raise ConfigError(_placed(str(error), prefix, list(known))) from error


def to_tree(config: Any) -> dict[str, Any]:
    """Plain TOML values of every setting; `build` of them gives an equal config."""
    return {key_of(field.name): _plain(getattr(config, field.name)) for field in fields(config) if field.init}


def key_of(name: str) -> str:
    """The key of a field: `from_` is written `from`, which no field can be called in Python."""
    return name.removesuffix("_")


def to_toml(config: Any) -> str:
    """Every setting, as the text of a TOML file."""
    return "\n".join(_table_lines(to_tree(config), "")).strip() + "\n"


def read_toml(path: Path) -> dict[str, Any]:
    """The tree in a TOML file; a file that is missing or broken is a ConfigError that says where."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not UTF-8 at byte {error.start}"
        raise ConfigError(f"{path}: cannot be read as a config file: {reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def type_name(hint: Any) -> str:
    """An annotation in the words of the messages: `integer`, `'adamw' or 'muon'`, `list of path`."""
    if get_origin(hint) is Literal:
        return " or ".join(repr(choice) for choice in get_args(hint))
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(UNSET if member is NoneType else type_name(member) for member in get_args(hint))
    if get_origin(hint) is tuple:
        return "list of " + ", ".join(type_name(item) for item in get_args(hint) if item is not Ellipsis)
    if is_dataclass(hint) or get_origin(hint) in MAPPINGS:
        return "table"
    return SCALAR_NAMES.get(hint, str(hint))


def toml_value(value: Any) -> str:
    """One value as TOML writes it."""
    value = _plain(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        pairs = cast(dict[str, Any], value).items()
        return "{" + ", ".join(f"{_key(key)} = {toml_value(each)}" for key, each in pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(each) for each in cast(list[Any], value)) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


class _Typed(str):
    """A value as typed on the command line; which type it has is up to the field it lands in."""

    __slots__ = ()


def _override(tree: dict[str, Any], override: str) -> None:
    """Set one `a.b=value` in the tree."""
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"{override!r}: expected key=value, for example seed=1 or optim.lr=1e-4")
    for depth, part in enumerate(parts[:-1], start=1):
        tree = tree.setdefault(part, {})
        if not isinstance(cast(Any, tree), dict):
            raise ConfigError(f"{override!r}: {'.'.join(parts[:depth])} is a single value, not a table")
    parsed = _parse(text)
    tree[parts[-1]] = parsed if isinstance(parsed, dict) else _Typed(text)


def _parse(text: str) -> Any:
    """A TOML value, or the text itself where it is not one: `lr=1e-4`, `out=runs/first`."""
    try:
        tree = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return str(text)
    return tree["value"] if len(tree) == 1 else str(text)


def _convert(hint: Any, value: Any, key: str, default: Any = None) -> Any:
    """`value` as the annotation wants it, or a ConfigError that names the key."""
    if isinstance(value, _Typed):
        value = _read_typed(hint, value)
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _mismatch(hint, value, key)
        base = default if isinstance(default, cast(type, hint)) else None
        return build(cast(type, hint), cast(Mapping[str, Any], value), prefix=key, base=base)
    convert = CONVERTERS.get(get_origin(hint))
    return convert(hint, value, key, default) if convert else _scalar(hint, value, key)


def _read_typed(hint: Any, text: _Typed) -> Any:
    """What a word of the command line means for a field of this type."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return text  # each member reads it in its own way
    parsed = _parse(text)
    if hint in (str, Path) or origin is Literal:
        choices = get_args(hint)
        return parsed if isinstance(parsed, str) or parsed in choices else str(text)
    if origin is tuple and not isinstance(parsed, list):
        return [_Typed(item.strip()) for item in text.split(",")]
    return parsed


def _scalar(hint: Any, value: Any, key: str) -> Any:
    """bool is never a number, an integer may stand for a float, a path is relative to where we are."""
    if hint is Any:
        return value
    if hint is float and type(value) is int:
        return float(value)
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    if type(value) is not hint or (hint is float and math.isnan(value)):
        raise _mismatch(hint, value, key)
    return value


def _union(hint: Any, value: Any, key: str, default: Any) -> Any:
    members = get_args(hint)
    if NoneType in members and (value is None or value == UNSET):
        return None
    rest = [member for member in members if member is not NoneType]
    if len(rest) == 1:
        return _convert(rest[0], value, key, default)
    for member in rest:
        try:
            return _convert(member, value, key, default)
        except ConfigError:
            continue
    raise _mismatch(hint, value, key)


def _literal(hint: Any, value: Any, key: str, default: Any) -> Any:
    for choice in get_args(hint):
        if type(choice) is type(value) and choice == value:
            return choice
    raise _mismatch(hint, value, key)


def _tuple(hint: Any, value: Any, key: str, default: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _mismatch(hint, value, key)
    values = cast(Sequence[Any], value)
    items = get_args(hint)
    if items[-1] is Ellipsis:
        items = items[:1] * len(values)
    if len(items) != len(values):
        raise ConfigError(f"{key}: expected {len(items)} values, got {len(values)}")
    pairs = zip(items, values, strict=True)
    return tuple(_convert(item, each, f"{key}[{i}]") for i, (item, each) in enumerate(pairs))


def _mapping(hint: Any, value: Any, key: str, default: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _mismatch(hint, value, key)
    item = get_args(hint)[1]
    pairs = cast(Mapping[str, Any], value).items()
    return {name: _convert(item, each, _join(key, name)) for name, each in pairs}


@lru_cache(maxsize=256)
def _hints(cls: type) -> Mapping[str, Any]:
    """The annotations of a dataclass; evaluating them takes longer than all else in `build`."""
    return get_type_hints(cls)


def _require(known: Mapping[str, Field[Any]], tree: Mapping[str, Any], prefix: str) -> None:
    for name, field in known.items():
        if name not in tree and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{_join(prefix, name)}: required, but not set")


def _placed(message: str, prefix: str, names: list[str]) -> str:
    """`lr is -1; …` of the table `optim` becomes `optim.lr is -1; …`."""
    if not prefix or message.startswith(f"{prefix}."):
        return message
    return f"{prefix}.{message}" if message.split(" ")[0] in names else f"{prefix}: {message}"


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _mismatch(hint: Any, value: Any, key: str) -> ConfigError:
    close = difflib.get_close_matches(str(value), [str(choice) for choice in get_args(hint)], n=1)
    hopeful = close and get_origin(hint) is Literal
    return ConfigError(
        f"{key}: expected {type_name(hint)}, got {_show(value)}"
        + (f"; did you mean {close[0]!r}?" if hopeful else "")
    )


def _suggest(key: str, prefix: str, hints: Mapping[str, Any]) -> str:
    """The key that was probably meant: one spelt like it, or the same one in a table of this table."""
    for table, hint in hints.items():
        if is_dataclass(hint) and key in [field.name for field in fields(hint)]:
            return f"did you mean {_join(prefix, table)}.{key}?"
    close = difflib.get_close_matches(key, list(hints), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(hints)}"


def _show(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _join(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_tree(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in cast(Sequence[Any], value)]
    if value is None:
        return UNSET
    return str(value) if isinstance(value, Path) else value


def _table_lines(tree: Mapping[str, Any], name: str) -> list[str]:
    """Values first, then the tables: TOML reads everything after a header as part of that table."""
    values = [f"{_key(key)} = {toml_value(each)}" for key, each in tree.items() if not isinstance(each, dict)]
    lines = ["", f"[{name}]", *values] if name else values
    for key, each in tree.items():
        if isinstance(each, dict):
            lines += _table_lines(cast(dict[str, Any], each), _join(name, _key(key)))
    return lines


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


MAPPINGS = (dict, Mapping)
CONVERTERS = {
    Union: _union,
    UnionType: _union,
    Literal: _literal,
    tuple: _tuple,
    dict: _mapping,
    Mapping: _mapping,
}
SCALAR_NAMES = {int: "integer", float: "number", bool: "true or false", str: "text", Path: "path"}
