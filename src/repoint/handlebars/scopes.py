"""Where names are looked up: handlebars.java's contexts (its class Context), as far as they are known beforehand."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """What a scope does beside having a value."""

    PLAIN = "a value"
    NAMES = "block parameters, over the scope of the block's value"
    SHADED = "a value inside block parameters: what surrounds it comes first"
    PARTIAL = "a value, under a partial's named arguments"
    ELSE = "the else of a section: its value, or what surrounds it if that is a list or a truth"


@dataclass(frozen=True, slots=True)
class Loop:
    """The `@index` and its like: `number` is that of its variables, `base` what the index begins with."""

    number: int
    base: str
    keys: Callable[[], str]
    is_list_only: bool  # a section loops only if its value is a list

    def data(self, name: str) -> str | None:
        """One of them, as an expression; None for what does not exist."""
        index, subject, found = (f"{letter}{self.number}" for letter in "ixy")
        place = index if self.base == "0" else f"({index} - {self.base})"
        if name == "key":
            return f"{self.keys()}[{place}]"
        return {
            "index": index,
            "index_1": f"({index} + 1 if type({subject}) is not dict else None)",
            "first": f"('first' if {place} == 0 else '')",
            "last": f"('last' if {place} + 1 == len({found}) else '')",
            "odd": f"(None if type({subject}) is dict else 'odd' if {index} % 2 else '')",
            "even": f"(None if type({subject}) is dict else '' if {index} % 2 else 'even')",
        }.get(name)

    def is_certain(self, name: str) -> bool:
        """Whether the datum is never missing."""
        return name in ("index", "key", "first", "last") and not self.is_list_only


@dataclass(eq=False, slots=True)
class Scope:
    """The variable that has the value, and what surrounds it."""

    var: str
    parent: "Scope | None" = None
    kind: Kind = Kind.PLAIN
    names: dict[str, str] = field(default_factory=dict)
    is_nullable: bool = False
    is_bare: bool = False  # what has no members: it is false
    loop: Loop | None = None

    @property
    def shades(self) -> bool:
        """Whether what is inside looks at what surrounds it first."""
        if self.kind is Kind.ELSE:
            return self.parent is not None and self.parent.shades
        return self.kind in (Kind.NAMES, Kind.SHADED)

    @property
    def has_members(self) -> bool:
        """Whether the value itself may have what is looked for."""
        return not self.is_bare and self.kind not in (Kind.NAMES, Kind.ELSE)

    def child(self, var: str, *, is_nullable: bool = False, is_bare: bool = False, loop: Loop | None = None) -> "Scope":
        """The scope of another value inside this one."""
        kind = Kind.SHADED if self.shades else Kind.PLAIN
        return Scope(var, self, kind, is_nullable=is_nullable, is_bare=is_bare, loop=loop)

    def named(self, names: Sequence[str], values: Sequence[str]) -> "Scope":
        """With block parameters over it, if there are any; of a single value there is one, or none."""
        if not names:
            return self
        known = {} if len(values) == 1 < len(names) else dict(zip(names, values, strict=False))
        return Scope("None", self, Kind.NAMES, known)

    def outwards(self) -> Iterator["Scope"]:
        """This scope and all that surround it."""
        here: Scope | None = self
        while here is not None:
            yield here
            here = here.parent

    def in_turn(self) -> list["Scope"]:
        """All that have names, in the order in which they are asked."""
        if self.kind in (Kind.SHADED, Kind.ELSE):
            assert self.parent is not None
            return [*self.parent.in_turn(), *([self] if self.kind is Kind.SHADED else [])]
        return [one for one in self.outwards() if one.kind is not Kind.ELSE]

    def layers(self) -> list[str]:
        """The objects that may have a name: the value, and one of the names that are given."""
        given = "{" + ", ".join([f"{name!a}: {value}" for name, value in self.names.items()]) + "}"
        return [*([self.var] if self.has_members else []), *([given] if self.names else [])]

    def model(self) -> str:
        """The value, as an expression; of block parameters an object of them."""
        if self.kind is Kind.NAMES:
            return self.layers()[0] if self.names else "NOTHING"
        if self.kind is Kind.ELSE:
            assert self.parent is not None
            return f"({self.parent.model()} if {self.is_outer} else {self.var})"
        return self.var

    @property
    def is_outer(self) -> str:
        """Of an else: whether it is in the scope that surrounds it, as an expression."""
        return f"type({self.var}) in (list, bool)"
