"""TLS for both doors, and mutual TLS when callers must show a certificate."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from fusee.base.errors import RequestError
from fusee.server.settings import TlsFiles


def tls_context(files: TlsFiles, protocols: Sequence[str]) -> ssl.SSLContext:
    """A server's context for the application protocols offered by ALPN ("h2", "http/1.1"); TLS 1.2 or newer.

    Raises RequestError naming the file that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(protocols))
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as err:
        raise RequestError(
            f"--tls-cert {files.certificate} and --tls-key {files.key} cannot be used: {err}; expected PEM files, "
            "the key being that of the certificate and without a password"
        ) from err
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except (OSError, ssl.SSLError) as err:
            raise RequestError(f"--tls-client-ca {files.client_ca} cannot be used: {err}; expected a PEM file") from err
        context.verify_mode = ssl.CERT_REQUIRED
    return context
