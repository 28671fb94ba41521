"""The content of a delivery: resolved as the request was judged."""

from repoint.resources.messages.content import Content, resolve

__all__ = ["Content", "resolve"]
