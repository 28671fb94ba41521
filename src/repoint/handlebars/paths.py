"""Paths to Python expressions: what they share is looked up once."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from repoint.handlebars.nodes import Path

INLINE_SCOPES_MAX = 3
VARIABLE = re.compile(r"[a-z]\d+")
ASSIGNMENT = re.compile(r"\(((v\d+) := d?[cd]?\d*\.get\([^()]*\))\)")


@dataclass(eq=False, slots=True)
class Scope:
    """Where names are looked up: the variable that has the value, what surrounds it, the @-data of its loop."""

    var: str
    parent: "Scope | None" = None
    names: dict[str, str] = field(default_factory=dict)
    begins_data: bool = False
    is_list_only: bool = False  # a section that loops only if its value is a list
    number: int = 0
    base: str = "0"
    keys: Callable[[], str] | None = None

    def loop(self, number: int, base: str, keys: Callable[[], str]) -> None:
        """This is the inside of a loop, whose variables have this number."""
        self.number, self.base, self.keys = number, base, keys

    def data(self, name: str) -> str | None:
        """`@index` and its like, as an expression; None for what does not exist."""
        index, subject, found = (f"{letter}{self.number}" for letter in "ixy")
        place = index if self.base == "0" else f"({index} - {self.base})"
        if name == "key":
            assert self.keys is not None
            return f"{self.keys()}[{place}]"
        return {
            "index": index,
            "index_1": f"({index} + 1 if type({subject}) is not dict else None)",
            "first": f"('first' if {place} == 0 else '')",
            "last": f"('last' if {place} + 1 == len({found}) else '')",
            "odd": f"('odd' if {index} % 2 and type({subject}) is not dict else '')",
            "even": f"('' if {index} % 2 or type({subject}) is dict else 'even')",
        }.get(name)


def named_values(
    names: tuple[str, ...], item: str, keys: Callable[[], str] | None = None, index: str = "", base: str = "0"
) -> dict[str, str]:
    """A block's parameters: the item, then its key."""
    found = dict(zip(names, (item,), strict=False))
    if keys is not None:
        found[names[1]] = f"{keys()}[{index} - {base}]"
    return found


def bare(part: str) -> str:
    """A part of a path without its brackets."""
    return part[1:-1] if part.startswith("[") else part


class Paths:
    """Writes expressions, and before them the statements they need."""

    def __init__(self, line: Callable[[str], None]) -> None:
        self.line = line
        self.count = 0
        self.known: list[dict[tuple[Scope, tuple[str, ...], bool], str]] = [{}]

    def number(self) -> int:
        """A number for the names of new variables."""
        self.count += 1
        return self.count

    def new(self, letter: str) -> str:
        """A new variable."""
        return f"{letter}{self.number()}"

    def enter(self) -> None:
        """What becomes known from here on may not be after `leave`: it is in a branch."""
        self.known.append({})

    def leave(self) -> None:
        """The end of a branch."""
        self.known.pop()

    def bound(self, expression: str) -> tuple[str, str]:
        """An expression that leaves its value in a variable, and the variable."""
        assignment = ASSIGNMENT.fullmatch(expression)
        if assignment:
            return assignment[1], assignment[2]
        if VARIABLE.fullmatch(expression):
            return expression, expression
        var = self.new("t")
        return f"{var} := {expression}", var

    def is_whole_number(self, expression: str) -> bool:
        """Whether an expression is a loop's counter, which needs no escaping."""
        return expression[:1] == "i" and expression[1:].isdecimal()

    def recall(self, scope: Scope, names: tuple[str, ...], *, is_dict: bool) -> str | None:
        """The variable that has it already."""
        key = (scope, names, is_dict)
        return next((known[key] for known in self.known if key in known), None)

    def keep(self, var: str, scope: Scope, names: tuple[str, ...], *, is_dict: bool) -> str:
        """From here on this variable has it."""
        self.known[-1][scope, names, is_dict] = var
        return var

    def members(self, scope: Scope, names: tuple[str, ...]) -> str:
        """A variable with the dict at a path; an empty one if there is something else."""
        if scope.parent is None and not names:
            return scope.var
        found = self.recall(scope, names, is_dict=True)
        if found is not None:
            return found
        var = self.new("d")
        if names:
            self.line(f"{var} = {self.members(scope, names[:-1])}.get({names[-1]!a})")
        else:
            self.line(f"{var} = {scope.var}")
        self.line(f"if type({var}) is not dict: {var} = dict_of({var})")
        return self.keep(var, scope, names, is_dict=True)

    def value(self, scope: Scope, parts: tuple[str, ...], *, is_certain: bool = True) -> str:
        """A path's value in one scope; with `is_certain`, the expression is evaluated wherever it is written."""
        names = tuple(bare(part) for part in parts)
        plain = next((at for at, name in enumerate(names) if name.isdecimal()), len(names))
        rest = names[plain:]
        found = self.leaf(scope, names[:plain], is_certain=is_certain) if plain else scope.var
        if not rest:
            return found
        if rest != ("0",):
            return f"walk({found}, {rest!a})"
        var = self.new("w")
        return f"({var}[0] if type({var} := {found}) is list and {var} else first({var}))"

    def leaf(self, scope: Scope, names: tuple[str, ...], *, is_certain: bool) -> str:
        """A member by names alone; kept for when it is asked for again."""
        found = self.recall(scope, names, is_dict=False)
        if found is not None:
            return found
        expression = f"{self.members(scope, names[:-1])}.get({names[-1]!a})"
        if not is_certain:
            return expression
        var = self.keep(self.new("v"), scope, names, is_dict=False)
        return f"({var} := {expression})"

    def scoped(self, path: Path, scope: Scope) -> str:
        """`this.x`, `../x`: in that scope, and no further."""
        here: Scope | None = scope
        for _ in range(path.up):
            here = here.parent if here is not None else None
        if here is None:
            return "None"
        return self.value(here, path.parts) if path.parts else here.var

    def plain(self, path: Path, scope: Scope) -> str:
        """A name: block parameters, then the value here, then what surrounds it."""
        if scope.parent is None:
            return self.value(scope, path.parts)
        first, rest = bare(path.parts[0]), tuple(bare(part) for part in path.parts[1:])
        found: list[str] = []
        here: Scope | None = scope
        seen: list[Scope] = []
        while here is not None:
            if first in here.names:
                found.append(f"walk({here.names[first]}, {rest!a})" if rest else here.names[first])
                break
            seen.append(here)
            here = here.parent
        if len(seen) > INLINE_SCOPES_MAX:
            scopes = ", ".join(one.var for one in seen)
            found.insert(0, f"find(({scopes},), {(first, *rest)!a})")
        else:
            found[:0] = [self.value(one, path.parts, is_certain=False) for one in seen]
        return self.either(found)

    def either(self, expressions: list[str]) -> str:
        """The first of several that is not None."""
        *before, last = expressions
        for expression in reversed(before):
            var = self.new("v")
            last = f"({var} if ({var} := {expression}) is not None else {last})"
        return last

    def data(self, path: Path, scope: Scope, root: Scope) -> str:
        """`@index`, `@root.x`, `@../index`."""
        name = path.parts[0]
        if name == "root":
            return self.value(root, path.parts[1:]) if path.parts[1:] else root.var
        here: Scope | None = scope
        for _ in range(path.up):
            here = here.parent if here is not None else None
        found = self.datum(name, here)
        rest = tuple(bare(part) for part in path.parts[1:])
        return f"walk({found}, {rest!a})" if rest else found

    def datum(self, name: str, here: Scope | None) -> str:
        """A loop's datum, of the innermost loop that has one."""
        while here is not None and not here.begins_data:
            here = here.parent
        if here is None:
            return "None"
        found = here.data(name) or "None"
        if here.is_list_only:
            return f"({found} if type(x{here.number}) is list else {self.datum(name, here.parent)})"
        return found
