"""Encodings and digests of text, and random ids."""

import base64
import binascii
import hashlib
import uuid
from collections.abc import Callable
from typing import Any

from repoint.handlebars.errors import RenderError
from repoint.handlebars.helpers.options import Options, subject


def _digest(name: str) -> Callable[[list[Any], Options], Any]:
    return lambda arguments, _: hashlib.new(name, subject(arguments).encode(), usedforsecurity=False).hexdigest()


def _decode(arguments: list[Any], _: Options) -> Any:
    try:
        return base64.b64decode(subject(arguments), validate=True).decode()
    except (binascii.Error, ValueError):
        raise RenderError("not Base64 of UTF-8 text") from None


DIGESTS: dict[str, Callable[[list[Any], Options], Any]] = {
    "decode64": _decode,
    "encode64": lambda arguments, _: base64.b64encode(subject(arguments).encode()).decode(),
    "md5": _digest("md5"),
    "sha256": _digest("sha256"),
    "sha512": _digest("sha512"),
    "uuid": lambda _, __: str(uuid.uuid4()),
}
