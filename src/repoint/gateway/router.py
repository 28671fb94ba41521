"""Which operation a method and a raw path name.

Matching happens on the raw path, unquoting after it: a tag's ARN carries encoded slashes. Literal segments win over
parameters, with a way back, because `templates/{name}/email` and `templates/{name}/{type}/versions` share a prefix.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from repoint.wire.exceptions import MethodNotAllowedException, NotFoundException
from repoint.wire.model import Operation, unquote_segment

# Not in the model: where AWS Amplify's beacon brings the last event of a page that is left (its AWSPinpointProvider).
ALSO = {"PutEvents": "/v1/apps/{application-id}/events/legacy"}


@dataclass(slots=True)
class Node:
    """A place in the tree of paths."""

    literals: dict[str, "Node"] = field(default_factory=dict)
    parameter: "Node | None" = None
    operations: dict[str, Operation] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)


class Router:
    """All operations' routes."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = Node()
        for operation in operations:
            self._add(operation, operation.template)
            if operation.name in ALSO:
                self._add(operation, ALSO[operation.name])

    def _add(self, operation: Operation, template: str) -> None:
        node = self._root
        names = []
        for segment in template.strip("/").split("/"):
            if segment.startswith("{"):
                names.append(segment.strip("{}"))
                node.parameter = node.parameter or Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, Node())
        node.operations[operation.method] = operation
        node.names[operation.method] = tuple(names)

    def allowed(self, raw_path: str) -> list[str]:
        """The methods a path answers to; empty when there is no such path."""
        node, _ = self._find(raw_path)
        return sorted(node.operations) if node else []

    def match(self, method: str, raw_path: str) -> tuple[Operation, dict[str, str]]:
        """The operation and its path parameters, unquoted.

        Raises:
            NotFoundException: there is no such path.
            MethodNotAllowedException: there is, but not with this method.
        """
        node, values = self._find(raw_path)
        if node is None:
            raise NotFoundException(f"No operation has the path {raw_path[:200]}")
        operation = node.operations.get(method)
        if operation is None:
            raise MethodNotAllowedException(
                f"{method[:20]} is not allowed here: {', '.join(sorted(node.operations))} is"
            )
        return operation, {
            name: unquote_segment(value) if "%" in value else value
            for name, value in zip(node.names[method], values, strict=True)
        }

    def _find(self, raw_path: str) -> tuple[Node | None, list[str]]:
        segments = raw_path.removeprefix("/").split("/")
        values: list[str] = []
        node = _walk(self._root, segments, 0, values)
        if node is None and segments[-1] == "":  # PhoneNumberValidate is documented with and without a last slash
            node = _walk(self._root, segments[:-1], 0, values)
        return node, values


def _walk(node: Node, segments: list[str], at: int, values: list[str]) -> Node | None:
    if at == len(segments):
        return node if node.operations else None
    literal = node.literals.get(segments[at])
    if literal is not None:
        found = _walk(literal, segments, at + 1, values)
        if found is not None:
            return found
    if node.parameter is None or not segments[at]:
        return None
    values.append(segments[at])
    found = _walk(node.parameter, segments, at + 1, values)
    if found is None:
        values.pop()
    return found
