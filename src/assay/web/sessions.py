"""The browser's session: the key itself, sealed in a cookie, so that a revoked key ends its sessions at once."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

COOKIE = "assay_session"
LIFETIME_S = 12 * 3600


class Sessions:
    """Seals and opens cookies: encrypted and authenticated (Fernet: AES-128-CBC, HMAC-SHA256), with an end."""

    def __init__(self, secret: bytes) -> None:
        """``secret`` is 32 bytes, the same in every process of an installation."""
        self._fernet = Fernet(base64.urlsafe_b64encode(secret))

    def seal(self, key: str) -> str:
        return self._fernet.encrypt(key.encode()).decode()

    def key(self, cookie: str) -> str | None:
        """None when it is not ours, was altered, or is over."""
        try:
            return self._fernet.decrypt(cookie.encode(), ttl=LIFETIME_S).decode()
        except (InvalidToken, UnicodeEncodeError):
            return None


def session_secret(signing_key: Path) -> bytes:
    """32 bytes made from the installation's signing key, of which they tell nothing: there is one secret to keep."""
    return hmac.digest(signing_key.read_bytes(), b"assay sessions", hashlib.sha256)
