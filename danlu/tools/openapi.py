"""Tools from an OpenAPI file: an operation each, called at the file's host and nowhere else.

Parameters of the path, the query and the header, and the members of a JSON body, become the tool's
arguments. A secret is read from the environment and goes where the file's security scheme says; neither the
model nor a result ever sees it.
"""

from __future__ import annotations

import base64
import json
import keyword
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import quote, urlencode

from danlu.tools.error import ToolError
from danlu.tools.http import Host, HttpLimits, request
from danlu.tools.protocol import NAME, RESERVED, Tool, ToolDefinitionError
from danlu.tools.visible import one_line

MOST_BYTES = 5_000_000  # of a file
Place = Literal["path", "query", "header", "body"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenApiConfig:
    """One file, and which of its operations are tools."""

    file: Path  # OpenAPI 3 as JSON
    operations: tuple[str, ...] = ()  # operationIds; by default every operation that only reads (GET)
    server: str | None = None  # base URL, where the file names none or several
    secret: str | None = None  # name of the environment variable that holds the key or token
    limits: HttpLimits = field(default_factory=HttpLimits)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument: what the model calls it, what the service calls it, where it goes."""

    name: str
    sent_as: str
    place: Place
    hint: Any
    required: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a service."""

    host: Host
    method: str
    path: str  # with {names} in it
    parameters: Sequence[Parameter]
    secret: Secret | None
    limits: HttpLimits

    def __call__(self, **arguments: Any) -> Any:
        """What the service answers to these arguments."""
        given = [(each, arguments[each.name]) for each in self.parameters if arguments[each.name] is not None]
        path = self.path
        query: list[tuple[str, str]] = []
        headers: dict[str, str] = {}
        body: dict[str, Any] = {}
        for parameter, value in given:
            if parameter.place == "path":
                path = path.replace(f"{{{parameter.sent_as}}}", _segment(parameter, value))
            elif parameter.place == "query":
                query += [(parameter.sent_as, _plain(each)) for each in _several(value)]
            elif parameter.place == "header":
                headers[parameter.sent_as] = _header(parameter, value)
            else:
                body[parameter.sent_as] = value
        hidden = "" if self.secret is None else self.secret.put(query, headers)
        has_body = any(each.place == "body" for each in self.parameters)
        target = path + (f"?{urlencode(query)}" if query else "")
        sent = body if has_body else None
        return request(
            self.host, self.method, target, headers=headers, body=sent, limits=self.limits, hidden=hidden
        )


@dataclass(frozen=True, slots=True)
class Secret:
    """A key or token by the name of its environment variable, and where it is sent."""

    variable: str
    place: Literal["query", "header"]
    name: str
    form: str = "{}"
    encoded: bool = False  # name:password in base64, as HTTP's basic scheme has it

    def put(self, query: list[tuple[str, str]], headers: dict[str, str]) -> str:
        """Add it to a request; what must not be told."""
        value = os.environ.get(self.variable, "")
        if not value:
            raise ToolError(f"the environment variable {self.variable} is not set; the service needs its key")
        if not value.isprintable():
            raise ToolError(f"the environment variable {self.variable} holds a character that no key has")
        text = base64.b64encode(value.encode()).decode() if self.encoded else value
        if self.place == "query":
            query.append((self.name, text))
        else:
            headers[self.name] = self.form.format(text)
        return text


def tools_of(config: OpenApiConfig) -> list[Tool]:
    """A tool for each operation that is asked for.

    Raises:
        ToolDefinitionError: the file is none, or an operation cannot be a tool as it stands.
    """
    tree = _read(config.file)
    host = Host.of(config.server or _server(tree, config.file))
    found = dict(_operations(tree, config.file))
    wanted = config.operations or [name for name, (method, *_) in found.items() if method == "get"]
    if unknown := [name for name in wanted if name not in found]:
        raise ToolDefinitionError(
            f"{config.file}: there is no operation {unknown[0]!r}; there are {', '.join(found) or 'none'}"
        )
    if not wanted:
        raise ToolDefinitionError(
            f"{config.file}: no operation only reads; name those that may be called in `operations`"
        )
    return [_tool(tree, config, host, name, *found[name]) for name in wanted]


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
        if len(raw) > MOST_BYTES:
            raise ToolDefinitionError(f"{path}: has {len(raw):,} bytes; at most {MOST_BYTES:,} are read")
        tree = json.loads(raw)
    except OSError as error:
        raise ToolDefinitionError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ToolDefinitionError(f"{path}: is no JSON; convert a YAML file first") from None
    version = tree.get("openapi") if isinstance(tree, dict) else None
    if not isinstance(version, str) or not version.startswith("3."):
        raise ToolDefinitionError(f"{path}: its field 'openapi' is {version!r}; it must be 3.something")
    return tree


def _server(tree: Mapping[str, Any], path: Path) -> str:
    servers = [each.get("url", "") for each in tree.get("servers") or []]
    if len(servers) != 1:
        raise ToolDefinitionError(
            f"{path}: names {len(servers)} servers; say with `server` which one may be called"
        )
    return servers[0]


def _operations(tree: Mapping[str, Any], path: Path) -> Iterator[tuple[str, tuple[str, str, dict[str, Any]]]]:
    """Each operation by its operationId: method, path, description."""
    for route, item in (tree.get("paths") or {}).items():
        for method in METHODS & item.keys():
            operation = {**item[method]}
            operation["parameters"] = [*item.get("parameters", []), *operation.get("parameters", [])]
            name = operation.get("operationId")
            if not isinstance(name, str):
                raise ToolDefinitionError(f"{path}: {method.upper()} {route} has no operationId")
            yield name, (method, route, operation)


def _tool(
    tree: Mapping[str, Any],
    config: OpenApiConfig,
    host: Host,
    name: str,
    method: str,
    path: str,
    operation: Mapping[str, Any],
) -> Tool:
    where = f"{config.file}: {one_line(name)}"
    if not NAME.fullmatch(name) or name in RESERVED:
        raise ToolDefinitionError(
            f"{where}: cannot be a tool's name; it is letters, digits and _, but no role"
        )
    description = " ".join(str(operation.get("summary") or operation.get("description") or "").split())
    if not description:
        raise ToolDefinitionError(f"{where}: has no summary; the model would not know what it does")
    parameters = list(_parameters(tree, operation, where))
    if missing := set(re.findall(r"{(.*?)}", path)) - {e.sent_as for e in parameters if e.place == "path"}:
        raise ToolDefinitionError(
            f"{where}: its path has {sorted(missing)[0]!r}, which no parameter describes"
        )
    called = Operation(
        host, method, path, parameters, _secret(tree, config, operation, host, where), config.limits
    )
    return Tool(name=name, description=description, arguments=_arguments(parameters, where), function=called)


def _arguments(parameters: Sequence[Parameter], where: str) -> type:
    names = [each.name for each in parameters]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ToolDefinitionError(f"{where}: two parameters are called {twice[0]!r}")
    made = [
        (each.name, each.hint) if each.required else (each.name, each.hint | None, None)
        for each in parameters
    ]
    return make_dataclass("Arguments", made, frozen=True, kw_only=True)


def _parameters(tree: Mapping[str, Any], operation: Mapping[str, Any], where: str) -> Iterator[Parameter]:
    for given in operation["parameters"]:
        described = _resolved(tree, given, where)
        name, place = str(described.get("name")), described.get("in")
        if place == "header" and name.lower() in FIXED_HEADERS:
            continue  # OpenAPI says that these are ignored
        if place not in ("path", "query", "header"):
            raise ToolDefinitionError(
                f"{where}: parameter {name!r} goes into {place!r}, which is not supported"
            )
        if place == "header" and not HEADER_NAME.fullmatch(name):
            raise ToolDefinitionError(f"{where}: {one_line(name)!r} is no name of a header")
        required = place == "path" or bool(described.get("required"))
        hint = _hint(tree, described.get("schema") or {}, f"{where}: parameter {name!r}")
        yield Parameter(_argument_name(name), name, place, hint, required)
    yield from _body(tree, operation, where)


def _body(tree: Mapping[str, Any], operation: Mapping[str, Any], where: str) -> Iterator[Parameter]:
    body = _resolved(tree, operation.get("requestBody") or {}, where)
    content = body.get("content") or {}
    if not content:
        return
    schema = _resolved(tree, (content.get("application/json") or {}).get("schema") or {}, where)
    if schema.get("type") != "object":
        raise ToolDefinitionError(f"{where}: its body is no JSON object, so its members cannot be arguments")
    needed = set(schema.get("required") or ())
    for name, given in (schema.get("properties") or {}).items():
        hint = _hint(tree, given, f"{where}: {name!r} in its body")
        yield Parameter(_argument_name(name), name, "body", hint, name in needed)


def _hint(tree: Mapping[str, Any], given: Mapping[str, Any], where: str) -> Any:
    """A JSON schema as the annotation of a parameter."""
    schema = _resolved(tree, given, where)
    choices = schema.get("enum")
    if choices and all(isinstance(each, str | int) for each in choices):
        return Literal[tuple(choices)]
    kind = schema.get("type")
    kinds = [each for each in cast(list[Any], kind) if each != "null"] if isinstance(kind, list) else [kind]
    if kinds == ["array"]:
        return tuple[_hint(tree, schema.get("items") or {}, where), ...]
    if len(kinds) != 1 or kinds[0] not in TYPES:
        raise ToolDefinitionError(
            f"{where} is {one_line(str(kind or 'of no type'))}; it must be a string, a number, a boolean, "
            "an enum, or an array of these"
        )
    return TYPES[kinds[0]]


def _resolved(tree: Mapping[str, Any], given: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """What a reference within the file leads to."""
    for _ in range(MOST_REFERENCES):
        if "$ref" not in given:
            return given
        given = _referred(tree, str(given["$ref"]), where)
    raise ToolDefinitionError(f"{where}: its references lead round in a circle")


def _referred(tree: Mapping[str, Any], reference: str, where: str) -> Mapping[str, Any]:
    found: Any = tree if reference.startswith("#/") else None
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise ToolDefinitionError(f"{where}: {one_line(reference)!r} leads nowhere in the file")
    return cast(Mapping[str, Any], found)


def _secret(
    tree: Mapping[str, Any], config: OpenApiConfig, operation: Mapping[str, Any], host: Host, where: str
) -> Secret | None:
    """Where the key goes, by the first security scheme that the operation accepts."""
    accepted = operation.get("security", tree.get("security")) or []
    names = [name for each in accepted for name in each]
    if config.secret is None:
        if names and {} not in accepted:
            raise ToolDefinitionError(
                f"{where}: wants a key; set `secret` to the name of the environment variable that holds it"
            )
        return None
    if not names:
        return None
    if host.scheme == "http" and not host.is_private:
        raise ToolDefinitionError(f"{where}: a key would travel to {host.name} unencrypted; use https://")
    schemes = (tree.get("components") or {}).get("securitySchemes") or {}
    scheme = _resolved(tree, schemes.get(names[0]) or {}, where)
    kind, form = scheme.get("type"), str(scheme.get("scheme", "")).lower()
    if kind == "apiKey" and scheme.get("in") in ("query", "header"):
        return Secret(config.secret, scheme["in"], str(scheme.get("name")))
    if kind in ("oauth2", "openIdConnect") or (kind == "http" and form == "bearer"):
        return Secret(config.secret, "header", "Authorization", "Bearer {}")
    if kind == "http" and form == "basic":
        return Secret(config.secret, "header", "Authorization", "Basic {}", encoded=True)
    raise ToolDefinitionError(f"{where}: its security scheme {one_line(names[0])!r} is not supported")


def _argument_name(name: str) -> str:
    """A Python name for it: X-Per-Page becomes X_Per_Page, `from` stays what it is to the model."""
    plain = re.sub(r"\W|^(?=\d)", "_", name, flags=re.ASCII)
    return f"{plain}_" if keyword.iskeyword(plain) else plain


def _segment(parameter: Parameter, value: Any) -> str:
    text = _plain(value)
    if text in ("", ".", ".."):
        raise ToolError(f"{parameter.name} is {text!r}, which is no part of a path")
    return quote(text, safe="")


def _header(parameter: Parameter, value: Any) -> str:
    text = ",".join(map(_plain, _several(value)))
    if not text.isascii() or not text.isprintable():
        raise ToolError(f"{parameter.name} holds a character that no header can have")
    return text


def _several(value: Any) -> Sequence[Any]:
    return cast(tuple[Any, ...], value) if isinstance(value, tuple) else (value,)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


METHODS = {"get", "put", "post", "delete", "patch"}
MOST_REFERENCES = 20
TYPES = {"string": str, "integer": int, "number": float, "boolean": bool}
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
FIXED_HEADERS = {
    *("accept", "accept-encoding", "authorization", "connection", "content-length", "content-type"),
    *("cookie", "host", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"),
}
