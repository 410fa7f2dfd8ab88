"""The application: routes over one model, behind one door, within one table of limits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Set
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from danlu import __version__
from danlu.serve.api.adapter_routes import adapter_routes
from danlu.serve.api.chat_route import chat_routes
from danlu.serve.api.completions import completion_routes
from danlu.serve.api.errors import install
from danlu.serve.api.examples import examples
from danlu.serve.api.guard import LOOPBACK, Door, Guard
from danlu.serve.api.keys import KeyRing, Scope
from danlu.serve.api.limits import Limits
from danlu.serve.api.metrics import Measured
from danlu.serve.api.service import Served, Service
from danlu.serve.api.status_routes import status_routes
from danlu.serve.api.token_routes import token_routes
from danlu.serve.api.vector_routes import vector_routes

# A path that is in neither wants the scope `admin`.
OPEN = frozenset({"/health", "/ready"})
SCOPES: dict[str, Scope] = {
    "/v1": "chat",
    "/v1/adapters": "admin",
    "/tokenize": "chat",
    "/detokenize": "chat",
    "/tokenizer_info": "chat",
    "/openapi.json": "chat",
    "/metrics": "admin",
}


def create_app(
    served: Served,
    *,
    keys: KeyRing | None = None,
    hosts: Set[str] = LOOPBACK,
    limits: Limits | None = None,
) -> FastAPI:
    """An ASGI application.

    Args:
        served: the model and what it can do.
        keys: who may call; None lets everybody in, and is for a server that only its own machine can reach.
        hosts: names by which clients may call the server, without port.
        limits: by default the defaults.
    """
    return app_of(Service(served, limits or Limits()), keys=keys, hosts=hosts)


def app_of(
    service: Service, *, keys: KeyRing | None = None, hosts: Set[str] = LOOPBACK, pages: str = ""
) -> FastAPI:
    """An ASGI application over a service that runs as long as it.

    Args:
        pages: beginning of the paths of pages that are added later; empty = none.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with service.running():
            yield

    # Pages that describe the API load scripts from elsewhere; /openapi.json is enough.
    app = Described(title="Danlu", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.limits, app.state.service = service.limits, service
    routers = [routes(service) for routes in ROUTES]
    install(app, [route for router in routers for route in router.routes])
    for router in routers:
        app.include_router(router)
    open_paths = OPEN | {"/"} if pages else OPEN
    door = Door(keys=keys, hosts=hosts, open_paths=open_paths, scopes=SCOPES, pages=pages)
    app.add_middleware(Guard, door=door)
    app.add_middleware(Measured, metrics=service.metrics)
    _describe(app, door, service.served.name)
    return app


class Described(FastAPI):
    """Keeps the description that it was given; FastAPI would make another, for routes were added before."""

    def openapi(self) -> dict[str, Any]:
        return self.openapi_schema or super().openapi()


def _describe(app: FastAPI, door: Door, model: str) -> None:
    """Have the description say what may be sent, and where a key is needed."""
    tree: dict[str, Any] = get_openapi(
        title=app.title, version=app.version, description=ABOUT, routes=app.routes
    )
    for path, example in examples(model).items():
        tree["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"] = example
    if door.keys is not None:
        tree["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path, methods in tree["paths"].items():
            for operation in methods.values() if path not in door.open_paths else ():
                operation["security"] = [{"key": []}]
                operation["description"] += f" Takes a key of scope {door.scope_of(path)!r}."
    app.openapi_schema = tree


ROUTES = (chat_routes, completion_routes, vector_routes, token_routes, status_routes, adapter_routes)
ABOUT = (
    "One model in the shape of OpenAI's API. Status 422 is a field that is wrong in itself; "
    "400 a request that is well formed and cannot be carried out here."
)
