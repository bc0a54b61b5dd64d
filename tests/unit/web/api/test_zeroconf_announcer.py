"""Zeroconf announcements: without the package, with a fake and with the real one."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from zeroconf.asyncio import AsyncZeroconf

from crowdstream.web.api.zeroconf_announcer import KINDS, announce, keep_announced
from tests.support.web_client import settings

OPEN = settings(http_host="192.168.1.20")


class FakeZeroconf:
    """Records registered services."""

    made: ClassVar[list[FakeZeroconf]] = []
    fails = False

    def __init__(self, interfaces: list[str]) -> None:
        self.interfaces = interfaces
        self.services: list[Any] = []
        self.closed = False
        FakeZeroconf.made.append(self)

    async def async_register_service(self, service: Any, allow_name_change: bool) -> Any:
        assert allow_name_change
        if self.fails:
            raise OSError("no multicast")
        self.services.append(service)
        return asyncio.sleep(0)

    async def async_unregister_service(self, service: Any) -> Any:
        self.services.remove(service)
        return asyncio.sleep(0)

    async def async_close(self) -> None:
        self.closed = True


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeZeroconf]:
    plain: Any = ModuleType("zeroconf")
    plain.ServiceInfo = lambda kind, name, **rest: SimpleNamespace(kind=kind, name=name, **rest)
    module: Any = ModuleType("zeroconf.asyncio")
    module.AsyncZeroconf = FakeZeroconf
    monkeypatch.setitem(sys.modules, "zeroconf", plain)
    monkeypatch.setitem(sys.modules, "zeroconf.asyncio", module)
    FakeZeroconf.made = []
    FakeZeroconf.fails = False
    return FakeZeroconf


def test_a_reachable_server_is_announced(fake: type[FakeZeroconf]) -> None:
    async def scene() -> None:
        made = await announce(OPEN, 8080, "1.2.3")
        assert made is not None
        [zeroconf] = fake.made
        assert zeroconf.interfaces == ["192.168.1.20"]
        assert tuple(one.kind for one in zeroconf.services) == KINDS
        for one in zeroconf.services:
            assert one.name.startswith("CrowdStream ") and one.name.endswith(one.kind)
            assert (one.port, one.parsed_addresses) == (8080, ["192.168.1.20"])
        await made.close()
        assert zeroconf.closed and not zeroconf.services

    asyncio.run(scene())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_local_server_is_never_announced(
    fake: type[FakeZeroconf], host: str
) -> None:
    assert asyncio.run(announce(settings(http_host=host), 8080, "1")) is None
    assert not fake.made


def test_a_server_with_tls_is_not_announced(fake: type[FakeZeroconf]) -> None:
    tls = settings(http_host="192.168.1.20", http_cert="cert.pem")
    assert asyncio.run(announce(tls, 8080, "1")) is None
    assert not fake.made


def test_without_the_package_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    assert asyncio.run(announce(OPEN, 8080, "1")) is None


def test_a_failed_announcement_is_logged(
    fake: type[FakeZeroconf], caplog: pytest.LogCaptureFixture
) -> None:
    fake.fails = True
    with caplog.at_level(logging.WARNING):
        assert asyncio.run(announce(OPEN, 8080, "1")) is None
    assert "no multicast" in caplog.text
    assert fake.made[0].closed


def test_a_very_long_host_name_is_truncated(
    fake: type[FakeZeroconf], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "ä" * 60)
    assert asyncio.run(announce(OPEN, 8080, "1")) is not None
    name = fake.made[0].services[0].name
    assert len(name.removesuffix("." + KINDS[0]).encode()) <= 63


def test_another_program_finds_the_announcement() -> None:
    # The real package, over loopback.
    async def scene() -> None:
        made = await announce(settings(http_host="0.0.0.0"), 18080, "1", ["127.0.0.1"])
        assert made is not None
        seeker = AsyncZeroconf(interfaces=["127.0.0.1"])
        try:
            service = made._services[0]
            found = await seeker.async_get_service_info(service.type, service.name, 60_000)
            assert found is not None
            assert found.port == 18080 and found.parsed_addresses() == ["127.0.0.1"]
            assert found.properties[b"version"] == b"1"
        finally:
            await seeker.async_close()
            await made.close()

    asyncio.run(scene())


def test_a_server_is_announced_as_soon_as_it_has_an_address_and_again_if_it_changes(
    fake: type[FakeZeroconf], monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses: list[str] = []
    module = "crowdstream.web.api.zeroconf_announcer"
    monkeypatch.setattr(f"{module}.own_addresses", lambda _host: list(addresses))

    async def until(count: int) -> FakeZeroconf:
        while len(fake.made) < count or len(fake.made[-1].services) < len(KINDS):
            await asyncio.sleep(0)
        return fake.made[-1]

    async def scene() -> None:
        running = asyncio.create_task(
            keep_announced(settings(http_host="0.0.0.0"), 8080, "1.2.3", 0.0)
        )
        for _ in range(10):
            await asyncio.sleep(0)
        assert not fake.made
        addresses.append("192.168.1.20")
        first = await until(1)
        addresses[:] = ["192.168.1.21"]
        second = await until(2)
        assert first.closed and not first.services
        assert second.interfaces == ["192.168.1.21"]
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(fake.made) == 2
        running.cancel()
        await asyncio.wait([running])
        assert second.closed and not second.services

    asyncio.run(scene())
