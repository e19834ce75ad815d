"""TLS as the server offers it: a client certificate is asked for and handed on, and judged by the application."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from mdmsim.http import Identity
from mdmsim.pki.certificate import to_pem
from reference_server.outbound import load_identity

#: OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for. The application judges dates itself:
#: OpenSSL would end the handshake of an expired identity before it could be answered 403.
NO_CHECK_TIME = 0x200000


def server_context(
    identity: Identity, client_authorities: tuple[bytes, ...], *, failed: Callable[[str], None] | None = None
) -> ssl.SSLContext:
    """TLS for the server: a client certificate is asked for, not demanded; its dates are not looked at here.

    `client_authorities`: DER, roots or not; each is trusted by itself. `failed` is told why a handshake failed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A connection's certificate is read once, as it is made: it must not change hands later.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.verify_mode = ssl.CERT_OPTIONAL
    # A subordinate CA is enough to trust what it issued, as it is for the application.
    context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME) | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=to_pem(*client_authorities).decode("ascii"))
    context.set_alpn_protocols(["http/1.1"])
    if failed is not None:
        context.sslobject_class = _telling(failed)
    load_identity(context, identity)
    return context


def _telling(failed: Callable[[str], None]) -> type[ssl.SSLObject]:
    """An SSLObject that says why its handshake failed: event loops keep that to themselves."""

    class TellingObject(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                failed(getattr(error, "verify_message", None) or error.reason or str(error))
                raise

    return TellingObject
