"""The server around the application: a socket, signals, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable, Generator

import uvicorn
from fastapi import FastAPI

from danlu.config import ConfigError


class Server(uvicorn.Server):
    """Leaves signals to `serve`: uvicorn would raise them again when all is done."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
        # Connections inherit it. asyncio sets it only where a socket names its protocol, which these do not;
        # a chunk would then wait, for up to 40 ms, until the client has acknowledged the one before.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except (OSError, OverflowError) as error:
        raise ConfigError(f"host {host} and port {port} cannot be listened at: {error}") from error


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(app: FastAPI, listening: socket.socket, started: Callable[[], None] | None = None) -> None:
    """Answer until SIGTERM or SIGINT; then take no more, finish what runs, and return."""
    limits = app.state.limits
    config = uvicorn.Config(
        app,
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=round(limits.drain_s),
        h11_max_incomplete_event_size=65_536,  # of a request's head
    )
    asyncio.run(_serve(Server(config), app, listening, started))


async def _serve(
    server: Server, app: FastAPI, listening: socket.socket, started: Callable[[], None] | None
) -> None:
    loop = asyncio.get_running_loop()

    def end() -> None:
        server.force_exit = server.should_exit  # asked a second time, it waits for nobody
        server.should_exit = app.state.service.draining = True

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, end)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if started is not None and server.started:
        started()
    await serving
