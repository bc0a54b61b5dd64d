"""A certificate authority of a test, and certificates that it signs, by the program openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

DAYS = "2"


class Authority:
    """An authority in a folder. `certificate`: its PEM file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", "/CN=Authority of a test", "-days", DAYS,
            "-keyout", str(self._key), "-out", str(self.certificate),
        )  # fmt: skip

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def sign(self, name: str) -> Path:
        """Return a PEM file with a key and a certificate for `name`: `DNS:radio`, `IP:::1`."""
        stem = "".join(c if c.isalnum() else "-" for c in name)
        key, request, made, both = (
            self._folder / f"{stem}.{suffix}" for suffix in ("key", "csr", "crt", "pem")
        )
        extensions = self._folder / f"{stem}.cnf"
        extensions.write_text(f"subjectAltName={name}\n")
        self._openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", "/CN=test", "-keyout", str(key), "-out", str(request),
        )  # fmt: skip
        self._openssl(
            "x509", "-req", "-in", str(request), "-CA", str(self.certificate), "-CAkey",
            str(self._key), "-CAcreateserial", "-days", DAYS, "-extfile", str(extensions),
            "-out", str(made),
        )  # fmt: skip
        both.write_text(made.read_text() + key.read_text())
        return both

    def server_context(self, name: str) -> ssl.SSLContext:
        """Return the TLS context of a server with a certificate for `name`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.sign(name))
        return context
