"""A tree, compiled to closures: each node becomes a function from a scope to text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from repoint.handlebars.errors import RenderError, TemplateError
from repoint.handlebars.helpers import BLOCK_CONDITIONS, HELPERS, Options
from repoint.handlebars.limits import DEFAULT_LIMITS, Limits
from repoint.handlebars.nodes import Argument, Block, Call, Inline, Literal, Node, Output, Partial, Path, Text
from repoint.handlebars.parse import Parser
from repoint.handlebars.values import ESCAPES, is_truthy, member, text_of

Render = Callable[["Scope"], str]
Value = Callable[["Scope"], Any]


@dataclass(slots=True)
class Run:
    """What one rendering has used up, and what it may use."""

    overrides: Mapping[str, Any]
    now: Callable[[], datetime]
    limits: Limits
    operations: int = 0
    loop_items: int = 0
    characters: int = 0
    partials: dict[str, Render] = field(default_factory=dict)

    def spend(self) -> None:
        """One more helper call or block."""
        self.operations += 1
        if self.operations > self.limits.operations_max:
            raise RenderError(f"the template does more than {self.limits.operations_max} operations")

    def loop(self) -> None:
        """One more item of a loop."""
        self.loop_items += 1
        if self.loop_items > self.limits.loop_items_max:
            raise RenderError(f"the template's loops have more than {self.limits.loop_items_max} items")


@dataclass(slots=True)
class Scope:
    """Where names are looked up: a value, what surrounds it, and the @-data of the loop it is in."""

    value: Any
    parent: "Scope | None"
    data: Mapping[str, Any]
    run: Run
    names: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template."""

    variables: frozenset[str]
    _render: Render
    _limits: Limits

    def render(
        self,
        context: Mapping[str, Any],
        overrides: Mapping[str, Any] | None = None,
        *,
        now: Callable[[], datetime] | None = None,
    ) -> str:
        """The text for one context; `overrides` are flat names that beat the context's.

        Raises:
            RenderError: a helper refused its arguments, or a limit was passed.
        """
        run = Run(overrides or {}, now or (lambda: datetime.now(UTC)), self._limits)
        try:
            text = self._render(Scope(context, None, {}, run))
        except RecursionError:
            raise RenderError("the template is nested too deeply") from None
        if len(text) > self._limits.output_characters_max:
            raise RenderError(f"the text is longer than {self._limits.output_characters_max} characters")
        return text


def compile_template(source: str, *, escape: bool = False, limits: Limits = DEFAULT_LIMITS) -> Template:
    """Compile a template; with `escape`, `{{x}}` escapes what HTML would take for markup.

    Raises:
        TemplateError: with line and column.
    """
    parser = Parser(source, limits)
    try:
        nodes = parser.parse()
        compiler = Compiler(escape=escape)
        render = compiler.sequence(nodes)
    except RecursionError:
        raise TemplateError("the template is nested too deeply", 1, 1) from None
    return Template(frozenset(compiler.variables), render, limits)


class Compiler:
    """Turns nodes into functions, and collects the variables they read from the root."""

    def __init__(self, *, escape: bool) -> None:
        self.escape = escape
        self.variables: set[str] = set()
        self.inner = 0

    def sequence(self, nodes: list[Node]) -> Render:
        """All nodes, one after the other."""
        renders = [self.node(node) for node in nodes]
        if len(renders) == 1:
            return renders[0]

        def render(scope: Scope) -> str:
            text = "".join([one(scope) for one in renders])
            run = scope.run
            run.characters += len(text)
            if run.characters > run.limits.output_characters_max * 8:
                raise RenderError(f"the text is longer than {run.limits.output_characters_max} characters")
            return text

        return render

    def node(self, node: Node) -> Render:
        """One node."""
        match node:
            case Text():
                text = node.text
                return lambda _: text
            case Output():
                return self.output(node)
            case Block():
                return self.block(node)
            case Inline():
                return self.inline(node)
            case Partial():
                return self.partial(node)

    def output(self, node: Output) -> Render:
        """A value, printed."""
        value = self.call(node.call)
        if self.escape and not node.is_raw:
            return lambda scope: text_of(value(scope)).translate(ESCAPES)
        return lambda scope: text_of(value(scope))

    def inline(self, node: Inline) -> Render:
        """Define a partial."""
        body = self.sequence(node.body)

        def define(scope: Scope) -> str:
            scope.run.partials[node.name] = body
            return ""

        return define

    def partial(self, node: Partial) -> Render:
        """Use a partial that was defined before."""

        def render(scope: Scope) -> str:
            scope.run.spend()
            body = scope.run.partials.get(node.name)
            if body is None:
                raise RenderError(f"there is no inline partial {node.name!r}, and templates cannot include others")
            return body(scope)

        return render

    def argument(self, argument: Argument) -> Value:
        """A value."""
        match argument:
            case Literal():
                value = argument.value
                return lambda _: value
            case Path():
                return self.path(argument)
            case Call():
                return self.call(argument)

    def call(self, call: Call) -> Value:
        """A helper with its arguments, or a plain path."""
        path = call.path
        if isinstance(path, Literal):
            return self.argument(path)
        name = path.name
        has_arguments = bool(call.arguments or call.named)
        if not path.is_data and not path.is_scoped and len(path.parts) == 1:
            if name == "lookup":
                return self.lookup(call)
            if name in HELPERS and (has_arguments or name in ("now", "uuid")):
                return self.helper(name, call)
        if has_arguments:
            raise TemplateError(f"there is no helper {name!r}", call.line, call.column)
        return self.path(path)

    def helper(self, name: str, call: Call) -> Value:
        """A call on a helper."""
        function = HELPERS[name]
        arguments = [self.argument(argument) for argument in call.arguments]
        named = {key: self.argument(argument) for key, argument in call.named.items()}

        def run(scope: Scope) -> Any:
            scope.run.spend()
            values = [argument(scope) for argument in arguments]
            options = Options({key: value(scope) for key, value in named.items()}, scope.run.now)
            try:
                return function(values, options)
            except RenderError as error:
                raise RenderError(f"{name}: {error.message}") from None
            except (IndexError, TypeError, ValueError, OverflowError, ArithmeticError) as error:
                raise RenderError(f"{name}: {error}") from None

        return run

    def lookup(self, call: Call) -> Value:
        """`{{lookup map key}}`."""
        if len(call.arguments) != 2:  # noqa: PLR2004 - what lookup takes
            raise TemplateError("lookup takes an object and a name", call.line, call.column)
        holder, key = (self.argument(argument) for argument in call.arguments)
        return lambda scope: member(holder(scope), text_of(key(scope)))

    def path(self, path: Path) -> Value:
        """A value by its path; what is missing is None."""
        if path.is_data:
            return data_reader(path)
        if path.is_scoped:
            return scoped_reader(path)
        if not self.inner:
            self.variables.add(path.name)
        return plain_reader(path)

    def block(self, node: Block) -> Render:
        """A section: built in, a condition, or over a value."""
        path = node.call.path
        name = path.name if isinstance(path, Path) else ""
        if name in ("if", "unless"):
            return self.condition(node, self.one_argument(node), negate=name == "unless")
        if name in BLOCK_CONDITIONS and node.call.arguments:
            return self.condition(node, self.helper(name, node.call), negate=False)
        if name in ("each", "with"):
            value = self.one_argument(node)
            return self.section(node, value, is_with=name == "with", is_each=name == "each")
        return self.section(node, self.call(node.call), is_with=False, is_each=False)

    def one_argument(self, node: Block) -> Value:
        """The argument of if, unless, each and with."""
        if len(node.call.arguments) != 1:
            name = node.call.path.name if isinstance(node.call.path, Path) else ""
            raise TemplateError(f"{name} takes one argument", node.call.line, node.call.column)
        self.inner += 1
        value = self.argument(node.call.arguments[0])
        self.inner -= 1
        return value

    def condition(self, node: Block, value: Value, *, negate: bool) -> Render:
        """One of two branches."""
        self.inner += 1
        body, otherwise = self.sequence(node.body), self.sequence(node.otherwise)
        self.inner -= 1

        def render(scope: Scope) -> str:
            scope.run.spend()
            return body(scope) if is_truthy(first_item(value(scope))) != negate else otherwise(scope)

        return render

    def section(self, node: Block, value: Value, *, is_with: bool, is_each: bool) -> Render:
        """A loop over a list (or, for each, an object), or a step into a value."""
        self.inner += 1
        body, otherwise = self.sequence(node.body), self.sequence(node.otherwise)
        self.inner -= 1
        names = node.names

        def render(scope: Scope) -> str:
            scope.run.spend()
            found = value(scope)
            if not is_truthy(found) or (is_each and isinstance(found, Mapping) and not found):
                return otherwise(scope)
            if isinstance(found, list | tuple) and not is_with:
                return "".join(loop(scope, body, names, list(enumerate(found)), is_list=True))
            if is_each and isinstance(found, Mapping):
                return "".join(loop(scope, body, names, list(found.items()), is_list=False))
            if is_each:
                return otherwise(scope)
            inner = scope if found is True else Scope(found, scope, scope.data, scope.run, named(names, found))
            return body(inner)

        return render


def first_item(value: Any) -> Any:
    """A condition on an attribute is about its value, when it has one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def named(names: tuple[str, ...], *values: Any) -> Mapping[str, Any] | None:
    """A block's parameters."""
    return dict(zip(names, values, strict=False)) if names else None


def loop(scope: Scope, body: Render, names: tuple[str, ...], items: list[Any], *, is_list: bool) -> list[str]:
    """A body for each item, with its @-data."""
    texts = []
    last = len(items) - 1
    for index, (key, item) in enumerate(items):
        scope.run.loop()
        data = {
            "index": index,
            "key": key if not is_list else index,
            "first": "first" if index == 0 else "",
            "last": "last" if index == last else "",
            "odd": "odd" if index % 2 else "",
            "even": "" if index % 2 else "even",
        }
        texts.append(body(Scope(item, scope, data, scope.run, named(names, item, key))))
    return texts


def data_reader(path: Path) -> Value:
    """`@index`, `@root.x`."""
    parts = path.parts

    def read(scope: Scope) -> Any:
        if parts[:1] == ("root",):
            while scope.parent is not None:
                scope = scope.parent
            return walk(scope.value, parts[1:])
        return walk(scope.data, parts)

    return read


def scoped_reader(path: Path) -> Value:
    """`this.x`, `../x`: from that scope, and no further."""
    parts, up = path.parts, path.up

    def read(scope: Scope) -> Any:
        for _ in range(up):
            if scope.parent is None:
                return None
            scope = scope.parent
        if scope.parent is None and parts and ".".join(parts) in scope.run.overrides:
            return scope.run.overrides[".".join(parts)]
        return walk(scope.value, parts)

    return read


def plain_reader(path: Path) -> Value:
    """A name: block parameters, then the value here, then what surrounds it; at the root, overrides first."""
    parts, name = path.parts, path.name
    first = parts[0][1:-1] if parts[0].startswith("[") else parts[0]

    def read(scope: Scope) -> Any:
        here: Scope | None = scope
        while here is not None:
            if here.names is not None and first in here.names:
                return walk(here.names[first], parts[1:])
            if here.parent is None and name in here.run.overrides:
                return here.run.overrides[name]
            if isinstance(here.value, Mapping) and first in here.value:
                return walk(here.value, parts)
            here = here.parent
        return None

    return read


def walk(value: Any, parts: tuple[str, ...]) -> Any:
    """Follow a path's parts."""
    for part in parts:
        value = member(value, part)
        if value is None:
            return None
    return value
