"""Provisional."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class _Bucket:
    def take(self) -> bool:
        return True


class Gate:
    def __init__(self, settings: SimpleNamespace) -> None:
        self.settings = settings
        self.url = ""

    def open(self, port: int) -> str:
        self.url = f"http://{self.settings.http_host}:{port}"
        return ""

    def guard(self, app: Any) -> Any:
        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            async def sending(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] += [
                        (b"cross-origin-opener-policy", b"same-origin"),
                        (b"cross-origin-embedder-policy", b"require-corp"),
                        (b"content-security-policy", b"default-src 'self'"),
                    ]
                await send(message)
            await app(scope, receive, sending)
        return guarded

    async def admit(self, socket: Any) -> bool:
        return True

    def may_write(self, connection: Any) -> bool:
        return True

    def left(self, socket: Any) -> None:
        pass

    def bucket(self) -> _Bucket:
        return _Bucket()
