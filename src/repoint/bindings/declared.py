"""Bindings as a TOML file declares them. Passwords and secrets come from the environment, as `${NAME}`.

A table for each binding:

    [[binding]]
    arn = "arn:aws:kinesis:us-east-1:123456789012:stream/events"
    target = "kafka://user:${KAFKA_PASSWORD}@kafka.example.com:9092/events"
    secret = "${HOOK_SECRET}"      # of webhooks

`$$` is a dollar sign.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from repoint.bindings.store import Binding, BindingError, check, name_of

MEMBERS: Final = frozenset({"arn", "target", "secret"})
CREDENTIALS: Final = re.compile(r"[a-z]+://[^/?#]*@")
VARIABLE: Final = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)\}|)")


def parse(text: str, environment: Mapping[str, str]) -> list[Binding]:
    """The bindings of a file.

    Raises:
        BindingError: naming the table and what is wrong with it, or a variable that is not set.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BindingError(str(error)) from None
    tables = document.pop("binding", [])
    if document:
        raise BindingError(f"{next(iter(document))}: the file may have [[binding]] tables only")
    if not isinstance(tables, list):
        raise BindingError("binding: write [[binding]], in double brackets")
    found: dict[str, Binding] = {}
    for number, table in enumerate(tables, 1):
        try:
            binding = _binding(table, environment)
        except BindingError as error:
            raise BindingError(f"binding {number}: {error}") from None
        if binding.arn in found:
            raise BindingError(f"binding {number}: {binding.arn} is bound above already")
        found[binding.arn] = binding
    return list(found.values())


def _binding(table: Any, environment: Mapping[str, str]) -> Binding:
    if not isinstance(table, dict):
        raise BindingError("must be a table")
    if unknown := sorted(set(table) - MEMBERS):
        raise BindingError(f"{unknown[0]}: there are arn, target and secret")
    for name in ("arn", "target"):
        if name not in table:
            raise BindingError(f"{name}: is required")
    for name, value in table.items():
        if not isinstance(value, str):
            raise BindingError(f"{name}: must be a string")
    target, secret = table["target"], table.get("secret", "")
    binding = check(table["arn"], _filled_url(target, environment), _filled(secret, environment))
    return replace(
        binding,
        written_target=target if "$" in target else "",
        written_secret=secret if "$" in secret else "",
    )


def _filled_url(text: str, environment: Mapping[str, str]) -> str:
    """A URL's user and password may be anything, once they are quoted."""
    credentials = CREDENTIALS.match(text)
    if credentials is None:
        return _filled(text, environment)
    quoted = {name: quote(value, safe="") for name, value in environment.items()}
    return _filled(credentials[0], quoted) + _filled(text[credentials.end() :], environment)


def _filled(text: str, environment: Mapping[str, str]) -> str:
    def value_of(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match[1] is None:
            raise BindingError("a dollar sign is written $$, a variable ${NAME}")
        if not environment.get(match[1]):
            raise BindingError(f"the environment has no {match[1]}")
        return environment[match[1]]

    return VARIABLE.sub(value_of, text)


def write(bindings: Sequence[Binding], *, with_secrets: bool) -> str:
    """A file of these bindings, which `parse` takes."""
    tables = []
    for binding in bindings:
        target, secret = _plain(binding) if with_secrets else _by_variables(binding)
        lines = ["[[binding]]", f"arn = {_quoted(binding.arn)}", f"target = {_quoted(target)}"]
        if secret:
            lines.append(f"secret = {_quoted(secret)}")
        tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)


def _plain(binding: Binding) -> tuple[str, str]:
    return binding.target.replace("$", "$$"), binding.secret.replace("$", "$$")


def _by_variables(binding: Binding) -> tuple[str, str]:
    """The target and the secret with variables for what is to be kept: those they came from, or new ones."""
    target, secret = _plain(binding)
    name = re.sub(r"[^A-Z0-9]", "_", name_of(binding.arn).upper())
    parts = urlsplit(target)
    if parts.password is not None:
        netloc = f"{parts.username}:${{{name}_PASSWORD}}@{parts.netloc.rpartition('@')[2]}"
        target = urlunsplit(parts._replace(netloc=netloc))
    return binding.written_target or target, binding.written_secret or (f"${{{name}_SECRET}}" if secret else "")


def _quoted(text: str) -> str:
    """A basic string, which TOML has in common with JSON."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
