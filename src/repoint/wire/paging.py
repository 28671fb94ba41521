"""Pages: opaque tokens that hold the last key of the page before, so a page never shifts under its reader."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

Row = TypeVar("Row")


class Page(NamedTuple):
    """How many items, and after which key; the key is None for the first page."""

    size: int
    after: list[Any] | None


def read_page(page_size: str | None, token: str | None, *, default: int, maximum: int) -> Page:
    """The page asked for; AWS sends the size as text.

    Raises:
        ValueError: naming what is wrong.
    """
    if page_size is None:
        size = default
    elif not (page_size.isascii() and page_size.isdigit() and 1 <= int(page_size[:9]) <= maximum):
        raise ValueError(f"page-size: must be a number from 1 to {maximum}")
    else:
        size = int(page_size)
    return Page(size, read_token(token) if token else None)


def read_token(token: str) -> list[Any]:
    """The key a token holds.

    Raises:
        ValueError: when no page gave it out.
    """
    try:
        key = msgspec.json.decode(base64.urlsafe_b64decode(token.encode("ascii")))
    except (binascii.Error, UnicodeError, msgspec.DecodeError, RecursionError, ValueError):
        raise ValueError("token: was not given out by a previous page") from None
    if not isinstance(key, list) or any(not isinstance(part, str | int) for part in key):
        raise ValueError("token: was not given out by a previous page")
    if any(isinstance(part, str) and "\x00" in part for part in key):
        raise ValueError("token: was not given out by a previous page")
    return key


def token_of(key: Sequence[Any]) -> str:
    """The token that continues after this key."""
    return base64.urlsafe_b64encode(msgspec.json.encode(list(key))).decode()


def split_page(rows: list[Row], page: Page, key: Callable[[Row], Sequence[Any]]) -> tuple[list[Row], str | None]:
    """Of rows fetched one beyond the page's size: those on the page, and the token of the next, if there is one."""
    if len(rows) <= page.size:
        return rows, None
    return rows[: page.size], token_of(key(rows[page.size - 1]))
