"""Encrypt a connection, and verify the server's certificate."""

from __future__ import annotations

import socket
import ssl

from crowdstream.broadcast.outputs import OutputError


def encrypt(connection: socket.socket, host: str, authorities: str = "") -> ssl.SSLSocket:
    """Return the connection over TLS 1.2 or newer; `host` must be a name of the certificate.

    `authorities`: a PEM file with certificates that are trusted besides the system's; empty: none.
    Raises `OutputError` for a certificate that is not trusted, and `OSError`. The connection's
    timeout applies to the handshake and after it.
    """
    context = ssl.create_default_context()
    if authorities:
        try:
            context.load_verify_locations(authorities)
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "reason", None) or error.strerror
            raise OutputError(f"broadcast_ca: {authorities}: {reason}") from None
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise OutputError(
            f"the server's certificate is not trusted: {error.verify_message}"
        ) from None
    except ssl.SSLEOFError:
        raise OutputError("the server ended the connection during the TLS handshake") from None
    except ssl.SSLError as error:
        raise OutputError(
            f"no TLS connection ({error.reason}): is this the server's port for TLS?"
        ) from None
