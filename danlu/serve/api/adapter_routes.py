"""Adapters that come and go while the server runs: /v1/adapters, for keys of scope `admin`.

A client names a directory of the folder that the server was started with, never a path.
"""

from __future__ import annotations

from fastapi import APIRouter

from danlu.serve.api import responses
from danlu.serve.api.body import StrictRoute
from danlu.serve.api.errors import RESPONSES
from danlu.serve.api.requests import AdapterName, AdapterRequest
from danlu.serve.api.service import Service


def adapter_routes(service: Service) -> APIRouter:
    """The routes of adapters."""
    router = APIRouter(route_class=StrictRoute, responses=RESPONSES)

    @router.get("/v1/adapters", response_model=responses.AdapterList)
    async def adapters() -> responses.AdapterList:
        """What is loaded, and what lies in the folder of adapters."""
        return responses.AdapterList(loaded=[*service.adapters], available=await service.shelved())

    @router.post("/v1/adapters", response_model=responses.Model)
    async def load(body: AdapterRequest) -> responses.Model:
        """Load an adapter, which is a model of its own to clients then. Nothing that runs is disturbed."""
        await service.load_adapter(body.name, body.directory or body.name)
        return responses.Model(
            id=body.name, created=service.created, max_model_len=service.served.max_seq_len
        )

    @router.delete("/v1/adapters/{name}", response_model=responses.AdapterGone)
    async def unload(name: AdapterName) -> responses.AdapterGone:
        """Forget an adapter; refused while a request runs on it."""
        await service.unload_adapter(name)
        return responses.AdapterGone(id=name)

    return router
