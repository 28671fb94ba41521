"""Content and an endpoint in, the finished message out."""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any

from repoint import handlebars
from repoint.clock import iso8601
from repoint.resources.endpoints.store import Endpoint
from repoint.resources.messages.content import Content

INDEX = re.compile(r"\[(\d{1,9})\]\Z")
TEMPLATES_MAX = 2_000
TEMPLATE_CHARACTERS_MAX = 20_000_000  # of all that are kept


class RenderingError(Exception):
    """The message cannot be rendered for this recipient, now or later."""


class Templates:
    """Compiled templates, by their source; the least used are forgotten."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[tuple[str, bool], handlebars.Template] = OrderedDict()
        self._characters = 0

    def get(self, source: str, *, escape: bool) -> handlebars.Template:
        """The compiled template.

        Raises:
            RenderingError: when the source is not a template.
        """
        key = (source, escape)
        found = self._compiled.get(key)
        if found is not None:
            self._compiled.move_to_end(key)
            return found
        try:
            found = handlebars.compile(source, escape=escape)
        except handlebars.TemplateError as error:
            raise RenderingError(str(error)) from None
        self._compiled[key] = found
        self._characters += len(source)
        while len(self._compiled) > TEMPLATES_MAX or self._characters > TEMPLATE_CHARACTERS_MAX:
            (forgotten, _), _ = self._compiled.popitem(last=False)
            self._characters -= len(forgotten)
        return found


# What a template may name, as Pinpoint calls it.
VARIABLES: Mapping[str, Callable[[Endpoint], Any]] = {
    "Address": attrgetter("address"),
    "Attributes": attrgetter("attributes"),
    "ChannelType": attrgetter("channel_type"),
    "CreationDate": lambda endpoint: iso8601(endpoint.created_at),
    "Demographic": attrgetter("demographic"),
    "EffectiveDate": lambda endpoint: iso8601(endpoint.effective_at),
    "EndpointId": attrgetter("given_id"),
    "EndpointStatus": lambda endpoint: "ACTIVE" if endpoint.is_active else "INACTIVE",
    "Id": attrgetter("given_id"),
    "Location": attrgetter("location"),
    "Metrics": attrgetter("metrics"),
    "OptOut": lambda endpoint: "ALL" if endpoint.is_opted_out else "NONE",
    "Pinpoint": lambda endpoint: {"ApplicationId": endpoint.app_id},
    "RequestId": attrgetter("request_id"),
    "User": lambda endpoint: {"UserId": endpoint.user_id, "UserAttributes": endpoint.user_attributes},
}


def variables_of(endpoint: Endpoint | None, app_id: str) -> dict[str, Any]:
    """What there is to name; an address without an endpoint has only the application."""
    if endpoint is None:
        return {"Pinpoint": {"ApplicationId": app_id}}
    return {name: value(endpoint) for name, value in VARIABLES.items()}


def with_overrides(content: Content, variables: dict[str, Any]) -> dict[str, Any]:
    """The variables, with the content's substitutions in their places, and its defaults where there is nothing.

    Raises:
        RenderingError: a substitution is too long.
    """
    if not (content.substitutions or content.defaults):
        return variables
    overrides = {
        **{name: value for name, value in content.defaults.items() if is_missing(variables, name)},
        **content.substitutions,
    }
    try:
        return handlebars.overridden(variables, overrides) if overrides else variables
    except handlebars.RenderError as error:
        raise RenderingError(error.message) from None


def render_parts(
    templates: Templates,
    content: Content,
    variables: dict[str, Any],
    *,
    now: datetime,
    missing_fails: bool,
) -> dict[str, str]:
    """Every part of the message as this recipient will read it.

    Raises:
        RenderingError: a template is broken, a helper refused, or a value is missing where that is a failure.
    """
    values = with_overrides(content, variables)
    rendered = {}
    for name, source in content.parts.items():
        if "{{" not in source:
            rendered[name] = source
            continue
        try:
            template = templates.get(source, escape=name == "HtmlPart")
            if missing_fails:
                _refuse_missing(template, content, variables)
            rendered[name] = template.render(values, now=lambda: now)
        except (RenderingError, handlebars.RenderError) as error:
            raise RenderingError(f"{name}: {error}") from None
    return rendered


def _refuse_missing(template: handlebars.Template, content: Content, variables: Mapping[str, Any]) -> None:
    for name in sorted(template.variables):
        if name not in content.substitutions and name not in content.defaults and is_missing(variables, name):
            raise RenderingError(f"{name} has no value")


def is_missing(variables: Mapping[str, Any], path: str) -> bool:
    """Whether a dotted path leads to nothing."""
    node: Any = variables
    for name in path.split("."):
        if isinstance(node, list) and (index := INDEX.match(name)):
            node = node[int(index[1])] if int(index[1]) < len(node) else None
        elif not isinstance(node, Mapping):
            return name[:1] != "["  # an index into something else is the template's business
        else:
            node = node.get(name.strip("[]"))
        if node is None or node in ("", []):
            return True
    return False
