"""The start of the web process."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
import uvicorn

from crowdstream.web.auth.certificate import CertificateError
from crowdstream.web.main import load, why_unusable

CERTIFICATE = Path(__file__).with_name("auth") / "test-certificate.pem"
KEY = CERTIFICATE.with_name("test-key.pem")


@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        (KEY, KEY, "no certificate with its key"),
        (CERTIFICATE, CERTIFICATE, "no certificate with its key"),
        (CERTIFICATE, CERTIFICATE.with_name("missing.pem"), "No such file or directory"),
        (CERTIFICATE, None, "no certificate with its key"),
    ],
)
def test_an_unusable_certificate_is_named_with_the_options_to_check(
    certificate: Path, key: Path | None, reason: str
) -> None:
    config = uvicorn.Config(
        lambda: None, log_config=None, ssl_certfile=certificate, ssl_keyfile=key
    )
    with pytest.raises(CertificateError) as caught:
        load(config)
    text = str(caught.value)
    files = f"{certificate} and {key}" if key else f"{certificate}"
    assert text.startswith(f"{files}: ") and text.endswith("; check --http-cert and --http-key")
    assert reason in text
    assert "Unknown error" not in text


def test_an_unusable_address_is_named_with_the_option_to_check() -> None:
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert why_unusable("dj.lan", 8080, unknown) == (
        "dj.lan:8080: Name or service not known; check --http-host"
    )
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    assert why_unusable("0.0.0.0", 80, denied) == (
        "0.0.0.0:80: Permission denied; choose another --http-port or --no-http"
    )


def test_a_usable_certificate_is_loaded() -> None:
    config = uvicorn.Config(
        lambda: None, log_config=None, ssl_certfile=CERTIFICATE, ssl_keyfile=KEY
    )
    load(config)
    assert config.ssl is not None
