from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio

from mdmsim.asgi import App, serve_asgi
from mdmsim.fakeapns.admin.app import create_app
from tests.fakeapns.support import Bench, serving


@asynccontextmanager
async def client_of(app: App) -> AsyncIterator[httpx.AsyncClient]:
    """The app on a loopback port, and a client that has the key "secret"."""

    async def serve(listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[object]) -> None:
        await serve_asgi(app, listeners, task_status=task_status)

    async with serving(serve) as port:
        headers = {"authorization": "Bearer secret"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
            yield client


@pytest.fixture
async def admin(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(bench.service, key="secret", counters=lambda: {"providers": 2})) as client:
        yield client
