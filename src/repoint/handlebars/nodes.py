"""The tree of a template."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Text:
    """Text between mustaches."""

    text: str


@dataclass(frozen=True, slots=True)
class Path:
    """`a.b.[0]`, `this`, `../x`, `@index`."""

    parts: tuple[str, ...]
    up: int = 0
    is_data: bool = False
    is_scoped: bool = False  # begins with this or ../: not looked for further out

    @property
    def name(self) -> str:
        """The path as it was written, in dots."""
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number, true, false, null or undefined."""

    value: object


@dataclass(slots=True)
class Call:
    """A path or helper with its arguments."""

    path: "Path | Literal"
    arguments: list["Path | Literal | Call"]
    named: dict[str, "Path | Literal | Call"]
    line: int
    column: int


@dataclass(slots=True)
class Output:
    """`{{x}}` or, raw, `{{{x}}}`."""

    call: Call
    is_raw: bool


@dataclass(slots=True)
class Block:
    """`{{#x}}…{{else}}…{{/x}}`; inverted for `{{^x}}`."""

    call: Call
    body: list["Node"] = field(default_factory=list)
    otherwise: list["Node"] = field(default_factory=list)
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class Partial:
    """`{{> name}}`: only inline partials exist."""

    name: str


@dataclass(slots=True)
class Inline:
    """`{{#*inline "name"}}…{{/inline}}`."""

    name: str
    body: list["Node"]


Node = Text | Output | Block | Partial | Inline
Argument = Path | Literal | Call
