"""Secrets at rest: access keys' secrets and channels' credentials are sealed with AES-256-GCM.

The key comes from `REPOINT_SECRET_KEY` (64 hex digits) or from `DATA_DIR/secret.key`, made at the first start. What a
sealed value belongs to is authenticated with it, so a row's secret cannot be moved to another row.
"""

import hmac
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12


class SealError(Exception):
    """A sealed value cannot be opened: the key is another than the one it was sealed with."""


class Seal:
    """Seals and opens small secrets with one key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise SealError(f"the secret key must be {KEY_BYTES * 2} hex digits")
        self._cipher = AESGCM(key)
        self._key = key

    @classmethod
    def from_settings(cls, secret_key: str, data_dir: Path) -> "Seal":
        """The configured key, or the one in the data directory, made if there is none yet."""
        if secret_key:
            try:
                return cls(bytes.fromhex(secret_key))
            except ValueError:
                raise SealError(f"the secret key must be {KEY_BYTES * 2} hex digits") from None
        path = data_dir / "secret.key"
        if not path.exists():
            _write_new(path, secrets.token_hex(KEY_BYTES))
        try:
            return cls(bytes.fromhex(path.read_text().strip()))
        except (ValueError, SealError):
            raise SealError(f"{path} is no secret key: that is {KEY_BYTES * 2} hex digits") from None

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for another purpose, from which neither this one nor any other can be found."""
        return hmac.digest(self._key, f"repoint {purpose}".encode(), "sha256")

    def seal(self, secret: str, belongs_to: str) -> bytes:
        """The secret, encrypted, bound to what it belongs to."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), belongs_to.encode())

    def open(self, sealed: bytes, belongs_to: str) -> str:
        """The secret again.

        Raises:
            SealError: when it was sealed with another key, or for another owner.
        """
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], belongs_to.encode()).decode()
        except InvalidTag:
            raise SealError(
                f"the secret of {belongs_to} was sealed with another key: is REPOINT_SECRET_KEY, or secret.key in "
                "the data directory, the one it was made with?"
            ) from None


def _write_new(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all, whoever else is starting right now."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
