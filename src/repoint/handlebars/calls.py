"""A template's calls and paths to Python expressions."""

from dataclasses import replace

from repoint.handlebars.errors import TemplateError
from repoint.handlebars.helpers import HELPERS
from repoint.handlebars.limits import Limits
from repoint.handlebars.nodes import Argument, Call, Literal, Path
from repoint.handlebars.paths import Paths
from repoint.handlebars.scopes import Scope

HELPER_COST = 10
WITHOUT_ARGUMENTS = ("now", "uuid")


class Calls:
    """Writes expressions, in the scope of the moment, and before them the statements they need."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.lines: list[str] = []
        self.level = 1
        self.paths = Paths(self.line)
        self.scope = Scope("c")
        self.inner = 0
        self.cost = 0
        self.blocks: list[tuple[str, str]] = []
        self.variables: set[str] = set()

    def line(self, text: str) -> None:
        """A statement.

        Raises:
            TemplateError: there are too many.
        """
        if len(self.lines) > self.limits.statements_max:
            raise TemplateError("the template's blocks and paths are too many for each other", 1, 1)
        self.lines.append(" " * self.level + text)

    def variable(self, argument: Argument) -> str:
        """An argument, in a variable of its own."""
        var = self.paths.new("a")
        self.line(f"{var} = {self.argument(argument)}")
        return var

    def argument(self, argument: Argument) -> str:
        """A value."""
        match argument:
            case Literal():
                return ascii(argument.value)
            case Path():
                return self.path(argument)
            case Call():
                return self.subexpression(argument)

    def subexpression(self, call: Call) -> str:
        """`(helper …)`: it must be a helper."""
        name = call.path.name
        if name not in HELPERS and name != "lookup":
            raise TemplateError(f"there is no helper {name!r}", call.line, call.column)
        return self.lookup(call) if name == "lookup" else self.helper(name, call)

    def call(self, call: Call) -> str:
        """A helper with its arguments, or a plain path."""
        path = call.path
        has_arguments = bool(call.arguments or call.named)
        is_name = not (path.is_data or path.is_scoped) and len(path.parts) == 1
        if is_name and path.name == "lookup" and has_arguments:
            return self.lookup(call)
        if is_name and path.name in HELPERS and (has_arguments or path.name in WITHOUT_ARGUMENTS):
            return self.helper(path.name, call)
        if has_arguments:
            raise TemplateError(f"there is no helper {path.name!r}", call.line, call.column)
        return self.path(path if not self.repeats_with(path) else replace(path, start="this"))

    def repeats_with(self, path: Path) -> bool:
        """In `{{#with a}}{{a.b}}`, handlebars.java looks for a.b in a, and no further out."""
        if path.is_data or path.is_scoped or not self.blocks or self.blocks[-1][0] != "with":
            return False
        subject = next((subject for _, subject in reversed(self.blocks) if subject), "")
        return subject != "" and (path.name == subject or path.name.startswith(f"{subject}."))

    def helper(self, name: str, call: Call) -> str:
        """A call on a helper."""
        self.cost += HELPER_COST
        values = ", ".join([self.argument(argument) for argument in call.arguments])
        named = ", ".join([f"{key!a}: {self.argument(argument)}" for key, argument in call.named.items()])
        return f"r({name!a}, [{values}], {{{named}}})"

    def lookup(self, call: Call) -> str:
        """`{{lookup map key}}`."""
        if len(call.arguments) != 2:  # noqa: PLR2004 - what lookup takes
            raise TemplateError("lookup takes an object and a name", call.line, call.column)
        holder, key = (self.argument(argument) for argument in call.arguments)
        return f"lookup({holder}, {key}, {self.paths.models(self.scope)}{', True' if self.scope.shades else ''})"

    def path(self, path: Path) -> str:
        """A value by its path; what is missing is None."""
        if not (self.inner or path.is_data or path.is_scoped):
            self.variables.add(path.name)
        return self.paths.get(path, self.scope, is_certain=True)

    def is_here(self, argument: Argument) -> bool:
        """Whether this is the value of the scope itself, which stepping into it leaves as it is."""
        is_this = isinstance(argument, Path) and not (argument.up or argument.parts) and argument.start in ("this", ".")
        return is_this and not self.scope.shades
