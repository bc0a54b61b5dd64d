"""The certificate of `--http-cert auto`: names, renewal, and access to its key."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import ssl
import stat
import urllib.request
from pathlib import Path

import pytest

from crowdstream.web.auth import certificate as module
from crowdstream.web.auth.certificate import (
    CERTIFICATE,
    KEY,
    MAX_NAMES,
    RENEW_SECONDS,
    VALID_DAYS,
    CertificateError,
    announcement,
    keep_valid,
    openssl,
    own_certificate,
    wanted_names,
)
from tests.support.server import server, until
from tests.support.web_client import settings

SETTINGS = settings(http_host="0.0.0.0", http_cert="auto", http_allowed_hosts=("dj.example.org",))
DAY = 86400.0


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of this machine, which the test may change."""
    found = ["192.168.1.20", "2001:db8::5"]
    monkeypatch.setattr(module, "own_addresses", lambda _host: list(found))
    return found


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}


def handshake(context: ssl.SSLContext, trusted: Path, name: str) -> None:
    """Connect a client that trusts only this certificate; raises `SSLError`."""
    client = ssl.create_default_context(cafile=str(trusted))
    client.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", ssl.VerifyFlags(0))
    near, far = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(near, far, server_hostname=name)
    other = context.wrap_bio(far, near, server_side=True)
    for _ in range(4):
        for side in (one, other):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    assert one.getpeercert()


def test_the_certificate_is_valid_for_every_name_and_address(environ: dict[str, str]) -> None:
    made = own_certificate(SETTINGS, environ)
    assert {"192.168.1.20", "2001:db8::5", "127.0.0.1", "::1", "localhost"} <= made.names
    assert "dj.example.org" in made.names and made.names == wanted_names(SETTINGS)
    assert made.end - made.begin == VALID_DAYS * DAY
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.path, made.key)
    for name in ("192.168.1.20", "2001:db8::5", "localhost", "dj.example.org"):
        handshake(context, made.path, name)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"192\.168\.1\.21"):
        handshake(context, made.path, "192.168.1.21")


def test_the_fingerprint_is_that_of_the_certificate(environ: dict[str, str]) -> None:
    made = own_certificate(SETTINGS, environ)
    der = ssl.PEM_cert_to_DER_cert(made.path.read_text())
    assert made.fingerprint.replace(":", "") == hashlib.sha256(der).hexdigest().upper()
    assert len(made.fingerprint) == 95
    shown = "".join(line.strip() + ":" for line in announcement(made).splitlines()[2:])
    assert shown.rstrip(":") == made.fingerprint


def test_the_certificate_is_private_and_reused(environ: dict[str, str]) -> None:
    made = own_certificate(SETTINGS, environ)
    assert own_certificate(SETTINGS, environ) == made
    folder = made.path.parent
    assert {path.name for path in folder.iterdir()} == {CERTIFICATE, KEY}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "PRIVATE KEY" in made.key.read_text() and "PRIVATE" not in made.path.read_text()


def test_the_certificate_is_renewed_before_expiry_with_the_same_key(
    environ: dict[str, str]
) -> None:
    made = own_certificate(SETTINGS, environ)
    assert own_certificate(SETTINGS, environ, made.end - RENEW_SECONDS - 1) == made
    later = own_certificate(SETTINGS, environ, made.end - RENEW_SECONDS + 1)
    assert later.fingerprint != made.fingerprint
    assert later.names == made.names


def test_a_certificate_from_a_wrong_clock_is_renewed(environ: dict[str, str]) -> None:
    made = own_certificate(SETTINGS, environ)
    before = own_certificate(SETTINGS, environ, made.begin - DAY)
    assert before.fingerprint != made.fingerprint


def test_a_new_address_renews_the_certificate_and_keeps_earlier_names(
    environ: dict[str, str], addresses: list[str]
) -> None:
    made = own_certificate(SETTINGS, environ)
    key = made.key.read_bytes()
    addresses[:] = ["10.0.0.7"]
    moved = own_certificate(SETTINGS, environ)
    assert moved.fingerprint != made.fingerprint and moved.key.read_bytes() == key
    assert {"10.0.0.7", "192.168.1.20"} <= moved.names
    addresses[:] = ["192.168.1.20"]
    assert own_certificate(SETTINGS, environ) == moved, "back in the first network: none is needed"


def test_names_that_a_certificate_cannot_contain_are_omitted(
    environ: dict[str, str], addresses: list[str]
) -> None:
    addresses[:] = [f"10.0.{number // 250}.{number % 250}" for number in range(3 * MAX_NAMES)]
    names = ("bad..name", "under_score.local", "x" * 300)
    odd = settings(http_host="0.0.0.0", http_allowed_hosts=names)
    made = own_certificate(odd, environ)
    assert len(made.names) <= MAX_NAMES and "bad..name" not in made.names
    assert own_certificate(odd, environ) == made


@pytest.mark.parametrize(
    "spoil", ["key is open", "key is gone", "other key", "no certificate", "link"]
)
def test_a_key_that_others_could_read_or_write_is_not_used(
    environ: dict[str, str], tmp_path: Path, spoil: str
) -> None:
    made = own_certificate(SETTINGS, environ)
    key = made.key.read_bytes()
    if spoil == "key is open":
        made.key.chmod(0o644)
    elif spoil == "key is gone":
        made.key.unlink()
    elif spoil == "other key":
        made.key.write_bytes(
            openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        )
    elif spoil == "no certificate":
        made.path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    else:
        made.key.rename(tmp_path / "elsewhere")
        made.key.symlink_to(tmp_path / "elsewhere")
    again = own_certificate(SETTINGS, environ)
    assert again.fingerprint != made.fingerprint and again.key.read_bytes() != key
    assert stat.S_IMODE(again.key.stat().st_mode) == 0o600 and not again.key.is_symlink()
    assert own_certificate(SETTINGS, environ) == again


def test_a_service_stores_the_certificate_in_a_writable_folder(
    environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    service = {**environ, "XDG_CONFIG_HOME": str(tmp_path / "file"),
               "STATE_DIRECTORY": str(tmp_path / "state")}  # fmt: skip
    made = own_certificate(SETTINGS, service)
    assert made.path.parent == tmp_path / "state"
    assert own_certificate(SETTINGS, service) == made


def test_without_openssl_the_error_names_the_package(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CertificateError, match="apt-get install openssl"):
        own_certificate(SETTINGS, environ)


def test_a_running_server_adopts_the_renewed_certificate(
    environ: dict[str, str], addresses: list[str]
) -> None:
    made = own_certificate(SETTINGS, environ)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.path, made.key)

    async def moved() -> None:
        watching = asyncio.create_task(keep_valid(SETTINGS, made, context, environ, 0.01))
        addresses[:] = ["10.0.0.7"]
        while True:
            await asyncio.sleep(0.02)
            with contextlib.suppress(ssl.SSLError):
                handshake(context, made.path, "10.0.0.7")
                break
        watching.cancel()

    asyncio.run(asyncio.wait_for(moved(), 120))


def test_the_server_prints_the_fingerprint_that_browsers_see(tmp_path: Path) -> None:
    options = ("--http", "--driver", "null", "--http-cert", "auto", "--standby", "off")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "PYTHONUNBUFFERED": "1"}
    with server(tmp_path, *options, env=environ) as running:
        assert running.page().startswith("https://")

        def printed() -> str:
            # Two lines, which may arrive separately.
            lines = re.findall(r"^ +((?:[0-9A-F]{2}:?){16})\n", running.log(), re.MULTILINE)
            return "".join(lines).replace(":", "")

        until(lambda: len(printed()) >= 64)
        address = ("127.0.0.1", running.http_port)
        seen = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(address))
        assert hashlib.sha256(seen).hexdigest().upper() == printed()
        made = tmp_path / "config" / "crowdstream" / CERTIFICATE
        trusting = ssl.create_default_context(cafile=str(made))
        trusting.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", ssl.VerifyFlags(0))
        url = f"https://127.0.0.1:{running.http_port}/healthz"
        with urllib.request.urlopen(url, context=trusting, timeout=60) as answer:
            assert answer.status == 200
