"""The tree of a template."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Text:
    """Text between mustaches."""

    text: str


@dataclass(frozen=True, slots=True)
class Path:
    """`a.b.[0]`, `this`, `../x`, `@index`: its parts as they are written, brackets included."""

    parts: tuple[str, ...]
    up: int = 0
    is_data: bool = False
    start: str = ""  # after its ../: this, . or ..

    @property
    def is_scoped(self) -> bool:
        """Whether it says where it is looked for."""
        return bool(self.up or self.start)

    @property
    def name(self) -> str:
        """The path as it was written, in dots."""
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number, true, false, null or undefined."""

    value: str | float | bool | None


@dataclass(slots=True)
class Call:
    """A path or helper with its arguments."""

    path: Path
    arguments: list["Argument"]
    named: dict[str, "Argument"]
    line: int
    column: int


@dataclass(slots=True)
class Output:
    """`{{x}}` or, raw, `{{{x}}}`."""

    call: Call
    is_raw: bool


@dataclass(slots=True)
class Block:
    """`{{#x}}…{{else}}…{{/x}}`; for `{{^x}}` the two branches change places.

    `{{else if …}}` is a block that stands alone in `otherwise` and is marked as chained.
    """

    call: Call
    body: list["Node"] = field(default_factory=list)
    otherwise: list["Node"] = field(default_factory=list)
    names: tuple[str, ...] = ()
    is_chained: bool = False
    is_inverted: bool = False


@dataclass(slots=True)
class Partial:
    """`{{> name context key=value}}`: only inline partials exist."""

    name: str
    context: "Argument | None"
    named: dict[str, "Argument"]
    line: int
    column: int


@dataclass(slots=True)
class Inline:
    """`{{#*inline "name"}}…{{/inline}}`."""

    name: str
    body: list["Node"]


Node = Text | Output | Block | Partial | Inline
Argument = Path | Literal | Call
