"""Channels: how an application reaches people, with what sender and credentials."""
