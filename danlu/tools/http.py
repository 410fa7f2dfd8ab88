"""One HTTP request to a host that was named beforehand: nowhere else, no redirect, within time and size.

The host's name is looked up once and the connection goes to that address, so that a second look-up cannot
lead elsewhere; proxies and `.netrc` are not consulted.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from danlu.config import ConfigError
from danlu.tools.error import ToolError
from danlu.tools.visible import one_line

AGENT = "danlu"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    timeout_s: float = 8.0  # of one request, from the first byte to the last
    request_bytes: int = 100_000
    response_bytes: int = 200_000

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value <= 0:
                raise ConfigError(f"{name} is {value}; it must be above 0")


@dataclass(frozen=True, slots=True)
class Host:
    """The one place that requests go to: a scheme, a host, a port, and the path under which all lie."""

    scheme: str
    name: str
    port: int
    path: str  # without a slash at its end

    @classmethod
    def of(cls, url: str) -> Host:
        """From a base URL such as https://api.example.org/v1.

        Raises:
            ToolError: it is none, or holds a password, a query or a variable.
        """
        parts = _split(url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise ToolError(f"{one_line(url)!r} is no address; it must begin with https:// or http://")
        if parts.username is not None or parts.query or parts.fragment or "{" in url:
            raise ToolError(
                f"{one_line(url)!r} holds a name, a query or a variable; give scheme, host, port, path"
            )
        port = parts.port or PORTS[parts.scheme]
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))

    @property
    def is_private(self) -> bool:
        """Whether it says of itself that it is this machine or its network."""
        if self.name == "localhost":
            return True
        try:
            return not ipaddress.ip_address(self.name).is_global
        except ValueError:
            return False

    def address(self) -> tuple[str, int]:
        """Where to connect: looked up once; a public name that leads into a private network is refused."""
        try:
            found = socket.getaddrinfo(self.name, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ToolError(f"{self.name} is not known: {error.strerror}") from None
        address = str(found[0][4][0])
        if not self.is_private and not ipaddress.ip_address(address.partition("%")[0]).is_global:
            raise ToolError(
                f"{self.name} leads to {address}, an address of a private network; it is not called"
            )
        return address, self.port


def request(
    host: Host,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str],
    body: Any = None,
    limits: HttpLimits | None = None,
    hidden: str = "",
) -> Any:
    """The answer to one request: a tree where it is JSON, else text.

    Args:
        target: path and query after the host's own path; begins with a slash.
        body: sent as JSON unless it is None.
        hidden: a secret that the answer must not repeat.

    Raises:
        ToolError: it could not be had within the limits, or is an error or a redirect.
    """
    limits = limits or HttpLimits()
    raw = None if body is None else json.dumps(body, ensure_ascii=False).encode()
    if len(raw or b"") + len(target) > limits.request_bytes:
        raise ToolError(f"the request has more than {limits.request_bytes:,} bytes; ask for less")
    sent = {"Accept": "application/json, text/plain", "Accept-Encoding": "identity", "User-Agent": AGENT}
    sent |= {"Content-Type": "application/json"} if raw is not None else {}
    connection = _Pinned(host, limits.timeout_s)
    over = threading.Timer(limits.timeout_s, connection.abort)
    over.daemon = True
    over.start()
    try:
        connection.request(method.upper(), host.path + target, raw, {**sent, **headers})
        with connection.getresponse() as response:
            found = _read(host, response, limits, hidden)
        if connection.aborted:  # the end of the answer was ours
            raise TimeoutError
        return found
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, ToolError):
            raise
        raise ToolError(_failure(host, limits, error, connection.aborted)) from None
    finally:
        over.cancel()
        connection.close()


class _Pinned(http.client.HTTPConnection):
    """A connection to the address that was looked up, and to no other."""

    def __init__(self, host: Host, timeout_s: float) -> None:
        super().__init__(host.name, host.port, timeout=timeout_s)
        self._to = host
        self._open: socket.socket | None = None
        self.aborted = False

    def connect(self) -> None:
        plain = socket.create_connection(self._to.address(), self.timeout)
        if self._to.scheme == "https":
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(plain, server_hostname=self._to.name)
        else:
            self.sock = plain
        self._open = self.sock  # which the base class hands over to the answer

    def abort(self) -> None:
        """End whatever is going on: a server that sends a byte now and then does not hold anybody up."""
        self.aborted = True
        if self._open is not None:
            try:
                self._open.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                return


def _read(host: Host, response: http.client.HTTPResponse, limits: HttpLimits, hidden: str) -> Any:
    if 300 <= response.status < 400:
        raise ToolError(
            f"{host.name} answers with a redirect ({response.status}); redirects are not followed"
        )
    if response.getheader("Content-Encoding", "identity") != "identity":
        raise ToolError(f"{host.name} answers with a packed body, which was not asked for")
    raw = response.read(limits.response_bytes + 1)
    if len(raw) > limits.response_bytes:
        raise ToolError(f"{host.name} answers with more than {limits.response_bytes:,} bytes")
    text = raw.decode("utf-8", errors="replace")
    text = text.replace(hidden, "…") if hidden else text
    if not 200 <= response.status < 300:
        raise ToolError(f"{host.name} answers {response.status}: {one_line(text) or 'nothing'}")
    try:
        return json.loads(text) if text.strip() else None
    except RecursionError:
        raise ToolError(f"{host.name} answers with JSON that is nested too deep") from None
    except ValueError:
        return text


def _failure(host: Host, limits: HttpLimits, error: Exception, aborted: bool) -> str:
    if aborted or isinstance(error, TimeoutError):
        return f"{host.name} did not answer within {limits.timeout_s:g} seconds"
    return f"{host.name} could not be asked: {type(error).__name__}: {one_line(str(error))}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it checks it
        return parts
    except ValueError as error:
        raise ToolError(f"{one_line(url)!r} is no address: {error}") from None


PORTS = {"https": 443, "http": 80}
