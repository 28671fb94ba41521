"""Pages: opaque tokens that hold the last key of the page before, so a page never shifts under its reader.

They hold the list's name as well: a token of another list, whose keys may look alike, would begin anywhere.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

Row = TypeVar("Row")
PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 1000
NOT_OURS: Final = "was not given out by a previous page"


class Page(NamedTuple):
    """How many items of which list, and after which key; the key is None for the first page."""

    size: int
    after: list[Any] | None
    of: str


def read_page(page_size: str | None, token: str | None, of: str, *, member: str) -> Page:
    """The page asked for; AWS sends the size as text, and calls the token by this member's name.

    Raises:
        ValueError: naming what is wrong.
    """
    if page_size is None:
        size = PAGE_SIZE
    elif not (page_size.isascii() and page_size.isdigit() and 1 <= int(page_size[:9]) <= PAGE_SIZE_MAX):
        raise ValueError(f"page-size: must be a number from 1 to {PAGE_SIZE_MAX}")
    else:
        size = int(page_size)
    try:
        return Page(size, read_token(token, of) if token else None, of)
    except ValueError as error:
        raise ValueError(f"{member}: {error}") from None


def read_token(token: str, of: str) -> list[Any]:
    """The key a token holds.

    Raises:
        ValueError: when no page of this list gave it out.
    """
    try:
        key = msgspec.json.decode(base64.urlsafe_b64decode(token.encode("ascii")))
    except (binascii.Error, UnicodeError, msgspec.DecodeError, RecursionError, ValueError):
        raise ValueError(NOT_OURS) from None
    if not isinstance(key, list) or any(not isinstance(part, str | int) for part in key):
        raise ValueError(NOT_OURS)
    if key[:1] != [of] or len(key) == 1 or any(isinstance(part, str) and "\x00" in part for part in key):
        raise ValueError(NOT_OURS)
    return key[1:]


def token_of(key: Sequence[Any], of: str) -> str:
    """The token that continues this list after this key."""
    return base64.urlsafe_b64encode(msgspec.json.encode([of, *key])).decode()


def split_page(rows: list[Row], page: Page, key: Callable[[Row], Sequence[Any]]) -> tuple[list[Row], str | None]:
    """Of rows fetched one beyond the page's size: those on the page, and the token of the next, if there is one."""
    if len(rows) <= page.size:
        return rows, None
    return rows[: page.size], token_of(key(rows[page.size - 1]), page.of)
