"""Which tools a model may call in a chat, on a server or in training, and how long it may go on calling."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from danlu.config import ConfigError
from danlu.dialogue.tool_loop import LoopLimits
from danlu.tools import builtin
from danlu.tools.model import ModelConfig, model_tool
from danlu.tools.openapi import OpenApiConfig, tools_of
from danlu.tools.protocol import Tool, Toolbox, ToolLimits, tool
from danlu.tools.search.index import Index
from danlu.tools.sql.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsConfig:
    calculator: bool = False
    search: Path | None = None  # folder of documents
    sql: str | None = None  # SQLite or DuckDB file, or URL postgresql://user@host/name
    functions: Mapping[str, str] = field(default_factory=dict[str, str])
    """Your own by name, each as file.py:function or package.module:function."""
    isolated: bool = False  # run each call of a function in a process of its own
    openapi: Mapping[str, OpenApiConfig] = field(default_factory=dict[str, OpenApiConfig])
    models: Mapping[str, ModelConfig] = field(default_factory=dict[str, ModelConfig])  # other models by name
    limits: ToolLimits = field(default_factory=ToolLimits)
    loop: LoopLimits = field(default_factory=LoopLimits)

    @property
    def toolbox(self) -> Toolbox | None:
        """The tools; None where there are none."""
        tools = list(self._tools())
        return Toolbox(tools, self.limits) if tools else None

    def _tools(self) -> Iterator[Tool]:
        if self.calculator:
            yield builtin.calculator()
        if self.search is not None:
            yield builtin.search(Index.of(self.search))
        if self.sql is not None:
            yield builtin.database(Database(self.sql))
        for name, where in self.functions.items():
            yield tool(_function(where, f"functions.{name}"), name=name, isolated=self.isolated)
        for config in self.openapi.values():
            yield from tools_of(config)
        for name, config in self.models.items():
            yield model_tool(name, config)


def _function(where: str, key: str) -> Callable[..., object]:
    """A function of the user's own, by the file or the module it stands in."""
    source, _, name = where.rpartition(":")
    path = Path(source)
    if not source or not name.isidentifier():
        raise ConfigError(f"{key} is {where!r}; it must be file.py:function or package.module:function")
    if path.suffix == ".py":
        if not path.is_file():
            raise ConfigError(f"{key} is {where!r}; there is no file {path}")
        folder = str(path.resolve().parent)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        module = _imported(path.stem, where, key)
        if Path(module.__file__ or "").resolve() != path.resolve():
            raise ConfigError(f"{key} is {where!r}; another module is called {path.stem!r}, rename the file")
    else:
        module = _imported(source, where, key)
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"{key} is {where!r}; there is no function {name!r} in it")
    return function


def _imported(module: str, where: str, key: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"{key} is {where!r}, which cannot be imported: {error}") from error
