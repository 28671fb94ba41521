"""Repoint: a self-hosted server for the clients of Amazon Pinpoint."""

__version__ = "0.1.0"
