"""Paths to Python expressions: what they share is looked up once."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from repoint.handlebars.nodes import Path
from repoint.handlebars.scopes import Kind, Scope

INLINE_SCOPES_MAX = 3
VARIABLE = re.compile(r"[a-z]\d+")
ASSIGNMENT = re.compile(r"\(((v\d+) := d?[cd]?\d*\.get\([^()]*\))\)")


def bare(part: str) -> str:
    """A part of a path without its brackets."""
    return part[1:-1] if part.startswith("[") else part


class Paths:
    """Writes expressions, and before them the statements they need."""

    def __init__(self, line: Callable[[str], None]) -> None:
        self.line = line
        self.count = 0
        self.known: list[dict[tuple[object, ...], str]] = [{}]

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

    def recall(self, *key: object) -> str | None:
        """The variable that has it already."""
        return next((known[key] for known in self.known if key in known), None)

    def keep(self, var: str, *key: object) -> str:
        """From here on this variable has it."""
        self.known[-1][key] = var
        return var

    # --- one value's members

    def members(self, scope: Scope, names: tuple[str, ...]) -> str:
        """A variable with the dict at a path; an empty one if there is something else."""
        if scope.parent is None and not names:
            return scope.var
        found = self.recall(scope, names, "members")
        if found is not None:
            return found
        var = self.new("d")
        if names:
            self.line(f"{var} = {self.members(scope, names[:-1])}.get({names[-1]!a})")
        else:
            self.line(f"{var} = {scope.var}")
        self.line(f"if type({var}) is not dict: {var} = dict_of({var})")
        return self.keep(var, scope, names, "members")

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
        found = self.recall(scope, names, "leaf")
        if found is not None:
            return found
        expression = f"{self.members(scope, names[:-1])}.get({names[-1]!a})"
        if not is_certain:
            return expression
        var = self.keep(self.new("v"), scope, names, "leaf")
        return f"({var} := {expression})"

    # --- a path's value, by its kind of scope

    def get(self, path: Path, scope: Scope | None, *, is_certain: bool = False) -> str:
        """A path's value, as an expression; what is missing is None."""
        if scope is None:
            return "None"
        if scope.parent is None and not path.is_scoped and not path.is_data:
            return self.value(scope, path.parts, is_certain=is_certain)
        match scope.kind:
            case Kind.NAMES if path.is_scoped:
                return self.beneath(path, scope, is_certain=is_certain)
            case Kind.SHADED if path.is_scoped:
                return self.shaded(path, scope)
            case Kind.PARTIAL if not path.up and path.parts and path.start != "this":
                given = scope.names.get(bare(path.parts[0]))
                return self.either([*([walked(given, path.parts[1:])] if given else []), self.own(path, scope)])
            case Kind.ELSE:
                return self.otherwise(path, scope)
            case _:
                return self.own(path, scope, is_certain=is_certain)

    def beneath(self, path: Path, scope: Scope, *, is_certain: bool) -> str:
        """Inside block parameters `this`, `./x` and `../x` are about the block's value, and `this.x` about them."""
        assert scope.parent is not None
        if path.up:
            return self.get(replace(path, up=path.up - 1), scope.parent, is_certain=is_certain)
        if not path.parts:
            return scope.parent.model()
        if path.start == ".":
            return self.get(replace(path, start=""), scope.parent, is_certain=is_certain)
        given = scope.names.get(bare(path.parts[0]))
        return walked(given, path.parts[1:]) if given and not path.is_data else "None"

    def shaded(self, path: Path, scope: Scope) -> str:
        """Inside a value inside block parameters: what surrounds it has its say first."""
        found = self.recall(scope, path)
        if found is None:
            expression = self.either([self.get(path, scope.parent), self.own(path, scope)])
            found = self.keep(self.new("a"), scope, path)
            self.line(f"{found} = {expression}")
        return found

    def otherwise(self, path: Path, scope: Scope) -> str:
        """In the else of a section, which is inside its value, or inside what surrounds it."""
        assert scope.parent is not None
        if not path.is_scoped:
            return self.get(path, scope.parent)
        found = self.recall(scope, path)
        if found is None:
            inner = self.get(path, scope.parent.child(scope.var, is_nullable=True, is_bare=True))
            outer = self.get(path, scope.parent)
            found = self.keep(self.new("a"), scope, path)
            self.line(f"{found} = {outer} if {scope.is_outer} else {inner}")
        return found

    def own(self, path: Path, scope: Scope, *, is_certain: bool = False) -> str:
        """A path's value, beginning with the scope's own."""
        if path.up:
            found = self.get(replace(path, up=path.up - 1), scope.parent)
            return f"({found} if {scope.var} is not None else None)" if scope.is_nullable else found
        if path.start == "..":
            return "None" if scope.parent is None else f"around({scope.var}, {scope.parent.model()})"
        if path.is_data:
            return self.data(path, scope)
        if not path.start:
            return self.plain(path, scope)
        return self.value(scope, path.parts, is_certain=is_certain) if path.parts else scope.var

    def plain(self, path: Path, scope: Scope) -> str:
        """A name, in the innermost scope that has it."""
        first = bare(path.parts[0])
        having = [one for one in scope.in_turn() if one.has_members or first in one.names]
        if len(having) > INLINE_SCOPES_MAX:
            return f"find({self.models(scope)}, {tuple(bare(part) for part in path.parts)!a})"
        links: list[tuple[str, str]] = []
        for one in having:
            if one.has_members:
                head, full = (self.value(one, parts, is_certain=False) for parts in (path.parts[:1], path.parts))
                links.append((head, full))
            if first in one.names:
                links.append((one.names[first], walked(one.names[first], path.parts[1:])))
        return self.chained(links, is_long=len(path.parts) > 1)

    def models(self, scope: Scope) -> str:
        """A variable with all values and objects of names around a place, in turn."""
        found = self.recall(scope, "models")
        if found is None:
            layers = [layer for one in scope.in_turn() for layer in one.layers()]
            found = self.keep(self.new("q"), scope, "models")
            self.line(f"{found} = ({', '.join(layers)},)")
        return found

    def data(self, path: Path, scope: Scope) -> str:
        """`@index`, `@root.x`: a member of that name, or a loop's datum, in the innermost scope that has it."""
        name, rest = bare(path.parts[0]), path.parts[1:]
        if path.start:
            return walked(f"datum({scope.var}, {name!a})", rest)
        found = list(self.data_of(name, scope))
        if len(found) > INLINE_SCOPES_MAX:
            objects = ", ".join([var or f"{{{name!a}: {head}}}" for var, head in found])
            return walked(f"nearest(({objects},), {name!a})", rest)
        return self.chained([(head, walked(head, rest)) for _, head in found], is_long=bool(rest))

    def data_of(self, name: str, scope: Scope) -> Iterator[tuple[str, str]]:
        """What may have an `@name`, in turn: the variable of a value with members, if it is one, and the datum."""
        for at, one in enumerate(scope.in_turn()):
            if one.has_members:
                yield one.var, f"(None if type({one.var}) is str else datum({one.var}, {name!a}))"
            if name in one.names:
                yield "", one.names[name]
            found = one.loop.data(name) if one.loop else None
            if one.loop is not None and found is not None:
                yield "", f"({found} if type(x{one.loop.number}) is list else None)" if one.loop.is_list_only else found
                if one.loop.is_certain(name):
                    return
            if name == "root" and at == 0:
                *_, root = scope.outwards()
                yield "", root.var
                return

    def chained(self, links: Sequence[tuple[str, str]], *, is_long: bool) -> str:
        """The first of several; a long path is the first's that has its beginning, even if that leads nowhere."""
        if not is_long:
            return self.either([full for _, full in links])
        *before, (_, last) = links
        for head, full in reversed(before):
            last = f"({full} if {head} is not None else {last})"
        return last

    def either(self, expressions: Sequence[str]) -> str:
        """The first of several that is not None."""
        *before, last = expressions
        for expression in reversed(before):
            var = self.new("v")
            last = f"({var} if ({var} := {expression}) is not None else {last})"
        return last


def walked(expression: str, parts: tuple[str, ...]) -> str:
    """Where a path leads from a value."""
    return f"walk({expression}, {tuple(bare(part) for part in parts)!a})" if parts else expression
