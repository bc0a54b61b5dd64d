"""The page's own certificate: `--http-cert auto` creates, stores and renews one.

The certificate is self-signed. A browser therefore warns once, and the user compares the SHA-256
fingerprint that the terminal prints. The program `openssl` creates the certificate: every Debian
has it, and a library for this one purpose would be the largest package that the server installs.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import logging
import os
import re
import ssl
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crowdstream.settings.files import token_folders
from crowdstream.system.private_dirs import check_private
from crowdstream.system.process import child_environment
from crowdstream.web.auth.headers import own_names
from crowdstream.web.auth.invitation import own_addresses

AUTO = "auto"
"""The value of `http_cert` that requests a self-signed certificate."""
CERTIFICATE, KEY = "http-cert.pem", "http-key.pem"
VALID_DAYS = 397  # browsers refuse certificates that are valid for longer than 398 days
RENEW_SECONDS = 30 * 86400.0  # before expiry; a service may run for weeks
MAX_NAMES = 64  # in one certificate: current names, and those from networks used earlier
OPENSSL_SECONDS = 60.0
WATCH_SECONDS = 30.0  # between two checks of the addresses and the expiry

log = logging.getLogger(__name__)

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")

Run = Callable[..., bytes]
"""`run("x509", ...)` returns openssl's output; raises `CertificateError`."""


class CertificateError(OSError):
    """No certificate can be created; the text gives the reason and the remedy."""


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate and its key, and the certificate's contents."""

    path: Path
    key: Path
    names: frozenset[str]
    """Host names and addresses for which it is valid."""
    begin: float
    end: float
    """Validity, in seconds since the Unix epoch."""
    fingerprint: str
    """SHA-256 digest of the certificate in the notation of browsers: `AB:CD:...`."""

    def serves(self, names: Iterable[str], now: float) -> bool:
        """Whether it is valid for all `names`, and does not need renewal at the time `now`."""
        return set(names) <= self.names and self.begin <= now < self.end - RENEW_SECONDS


def wanted_names(settings: Any) -> frozenset[str]:
    """Names and addresses of this machine that a certificate can contain."""
    names = {name for name in own_names(settings.http_allowed_hosts) if _is_name(name)}
    addresses = own_addresses(settings.http_host)
    return frozenset(["127.0.0.1", "::1", *addresses, *sorted(names)][:MAX_NAMES])


def own_certificate(
    settings: Any,
    environ: Mapping[str, str] = os.environ,
    now: float | None = None,
    run: Run | None = None,
) -> Certificate:
    """The user's certificate; created if there is none, or if the existing one is unsuitable.

    It is stored beside the token (see `token_folders`), readable by this user alone. A renewed
    certificate keeps the key and the names of its predecessor. Raises `CertificateError`.
    """
    now = time.time() if now is None else now
    run = run or openssl
    wanted = wanted_names(settings)
    folders = token_folders(environ)
    kept = None
    for folder in folders:
        kept = read_certificate(folder, run)
        if kept is not None:
            break
    if kept is not None:
        if kept.serves(wanted, now):
            return kept
        folders = [kept.path.parent, *folders]
    before = sorted(kept.names - wanted) if kept is not None else []
    names = [*sorted(wanted), *before][:MAX_NAMES]
    reasons = []
    for folder in folders:
        try:
            return make_certificate(folder, names, run)
        except CertificateError:
            raise
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror or error}")
    raise CertificateError("no folder can store the certificate: " + "; ".join(reasons))


def read_certificate(folder: Path, run: Run) -> Certificate | None:
    """The certificate stored in a folder; None if there is none that can be used."""
    path, key = folder / CERTIFICATE, folder / KEY
    try:
        # A key that another user wrote, or could have read, is not secret.
        status = key.lstat()
        own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        if not own or status.st_mode & _OTHERS:
            return None
        pem = path.read_text(encoding="ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, key)
        about = run("x509", "-in", str(path), "-noout", "-dates", "-ext", "subjectAltName")
        return _described(path, key, pem, about.decode("utf-8", "replace"))
    except (OSError, ValueError):  # SSLError, an OSError: key and certificate do not match
        return None


def make_certificate(folder: Path, names: Iterable[str], run: Run) -> Certificate:
    """Create and store a certificate for `names`.

    Raises `OSError` if it cannot be stored, and `CertificateError` if openssl fails.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private(folder)
    names = list(names)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".certificate-") as made:
        key, config = Path(made) / KEY, Path(made) / "openssl.cnf"
        kept = read_certificate(folder, run)
        secret = (
            kept.key.read_bytes()
            if kept is not None
            else run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        )
        _write(key, secret)
        _write(config, _config(names).encode())
        pem = run(
            "req", "-new", "-x509", "-config", str(config), "-key", str(key), "-sha256",
            "-days", str(VALID_DAYS), "-set_serial", str(int.from_bytes(os.urandom(16)) | 1),
        )  # fmt: skip
        _write(Path(made) / CERTIFICATE, pem)
        os.replace(key, folder / KEY)
        os.replace(Path(made) / CERTIFICATE, folder / CERTIFICATE)
    found = read_certificate(folder, run)
    if found is None:
        raise CertificateError(f"openssl has created no usable certificate in {folder}")
    return found


def openssl(*arguments: str) -> bytes:
    """Run openssl and return its output. Raises `CertificateError`."""
    try:
        done = subprocess.run(
            ["openssl", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
            timeout=OPENSSL_SECONDS, check=False, env=child_environment(),
        )  # fmt: skip
    except FileNotFoundError:
        raise CertificateError(
            "--http-cert auto needs the program openssl: apt-get install openssl"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CertificateError(f"openssl: {error}") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise CertificateError(f"openssl {arguments[0]}: {lines[-1] if lines else done.returncode}")
    return done.stdout


async def keep_valid(
    settings: Any,
    certificate: Certificate,
    context: ssl.SSLContext,
    environ: Mapping[str, str] = os.environ,
    seconds: float = WATCH_SECONDS,
) -> None:
    """Renew the certificate when the machine's addresses change or it expires soon.

    Runs until cancelled, every `seconds`. New connections get the new certificate. A failed renewal
    is retried, and logged once per reason.
    """
    fault = ""
    while True:
        await asyncio.sleep(seconds)
        if certificate.serves(wanted_names(settings), time.time()):
            continue
        try:
            certificate = await asyncio.to_thread(own_certificate, settings, environ)
            context.load_cert_chain(certificate.path, certificate.key)
        except OSError as error:
            if str(error) != fault:
                fault = str(error)
                log.warning("could not renew the page's certificate: %s", fault)
            continue
        fault = ""
        log.warning("the page has a new certificate, SHA-256 %s", certificate.fingerprint)


def announcement(certificate: Certificate) -> str:
    """Lines for the terminal that explain how to check a browser's warning."""
    return "\n".join(
        (
            "a browser warns once of this self-signed certificate. Continue only if it shows",
            "this SHA-256 fingerprint:",
            f"  {certificate.fingerprint[:47]}",
            f"  {certificate.fingerprint[48:]}",
        )
    )


def _is_name(name: str) -> bool:
    return len(name) <= 253 and all(_LABEL.fullmatch(part) for part in name.split("."))


def _config(names: list[str]) -> str:
    # An explicit configuration: the system's may be missing, or contain anything.
    lines = []
    for number, name in enumerate(names):
        with contextlib.suppress(ValueError):
            lines.append(f"IP.{number} = {ipaddress.ip_address(name)}")
            continue
        lines.append(f"DNS.{number} = {name}")
    return "\n".join(
        (
            "[req]", "prompt = no", "distinguished_name = name", "x509_extensions = usage",
            "[name]", "CN = CrowdStream",
            "[usage]", "basicConstraints = critical, CA:FALSE",
            "keyUsage = critical, digitalSignature", "extendedKeyUsage = serverAuth",
            "subjectKeyIdentifier = hash", "subjectAltName = @names",
            "[names]", *lines, "",
        )
    )  # fmt: skip


def _described(path: Path, key: Path, pem: str, about: str) -> Certificate:
    # Raises ValueError if openssl's output has an unknown format.
    dates = dict(re.findall(r"^(notBefore|notAfter)=(.+)$", about, re.MULTILINE))
    names = {name.lower() for name in re.findall(r"DNS:([^\s,]+)", about)}
    for text in re.findall(r"IP Address:([^\s,]+)", about):
        names.add(str(ipaddress.ip_address(text)))
    if len(dates) != 2:
        raise ValueError(about)
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    fingerprint = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
    begin, end = (float(ssl.cert_time_to_seconds(dates[one])) for one in ("notBefore", "notAfter"))
    return Certificate(path, key, frozenset(names), begin, end, fingerprint)


def _write(path: Path, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as out:
        out.write(data)
