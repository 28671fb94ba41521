"""A tree to the source of one Python function.

The function makes one list in which literal text and values take turns, and gives it to `html` or `plain` to be joined:

    {{#if Attributes.Vip}}Dear {{Attributes.Name}}{{/if}}      becomes

    def write(c, now, limits):
        d1 = c.get('Attributes')
        if type(d1) is not dict: d1 = dict_of(d1)
        o = []
        if (v2 if type(v2 := d1.get('Vip')) is str else truth(v2)):
            o += ('Dear ', (v3 if type(v3 := d1.get('Name')) is str else text_of(v3)),)
        return html(o, 10000000)

What a template's author wrote gets into the source only through `ascii()`, as the literal of a string or number.
"""

from dataclasses import dataclass, field

from repoint.handlebars.calls import Calls
from repoint.handlebars.errors import TemplateError
from repoint.handlebars.helpers import BLOCK_CONDITIONS, HELPERS
from repoint.handlebars.limits import Limits
from repoint.handlebars.nodes import Argument, Block, Call, Inline, Node, Output, Partial, Path, Text
from repoint.handlebars.scopes import Kind, Loop, Scope

HERE = Path((), start="this")


class Generator(Calls):
    """Writes the function of one template."""

    def __init__(self, *, escape: bool, limits: Limits) -> None:
        super().__init__(limits)
        self.escape = escape
        self.pieces: list[str] = []
        self.literal: list[str] = []
        self.loops = 0
        self.partials: dict[str, Inline] = {}
        self.expanding: list[str] = []

    def source(self, nodes: list[Node]) -> str:
        """The whole function.

        Raises:
            TemplateError: a helper or a partial does not exist.
        """
        self.line("o = []")
        self.sequence(nodes)
        self.flush()
        self.line(f"return {'html' if self.escape else 'plain'}(o, {self.limits.output_characters_max})")
        return self.function()

    def function(self) -> str:
        """What has been written so far, as a function."""
        uses = "\n".join(self.lines)
        begin = ["def write(c, now, limits):"]
        begin += [" r = Run(now, limits).call"] if "r(" in uses else []
        begin += [" n = 0"] if "n +=" in uses else []
        return "\n".join([*begin, *self.lines])

    # --- text and values, by turns

    def text(self, expression: str) -> None:
        """A literal, or an f-string, of text that needs no escaping."""
        self.literal.append(expression)

    def value(self, expression: str) -> None:
        """A value, as text."""
        self.pair(self.printed(expression))

    def printed(self, expression: str) -> str:
        """A value's text; most are texts already, or kept in a variable."""
        assigned, var = self.paths.bound(expression)
        return f"({var} if type({assigned}) is str else text_of({var}))"

    def pair(self, text: str) -> None:
        """The literal so far, and a text after it that is escaped."""
        self.pieces += [" ".join(self.literal) or "''", text]
        self.literal = []

    def flush(self) -> None:
        """Write the statement that adds all pieces so far."""
        if self.literal:
            self.pair("''")
        if not self.pieces:
            return
        if self.lines[-1].lstrip() == "o = []":
            self.lines[-1] = self.lines[-1].replace("[]", f"[{', '.join(self.pieces)}]")
        else:
            self.line(f"o += ({', '.join(self.pieces)},)")
        self.pieces = []

    # --- nodes

    def sequence(self, nodes: list[Node]) -> None:
        """All nodes, one after the other; the partials among them hold from the beginning."""
        outer = self.partials
        self.partials = outer | {node.name: node for node in nodes if isinstance(node, Inline)}
        for node in nodes:
            self.cost += 1
            match node:
                case Text():
                    self.text(ascii(node.text))
                case Output():
                    self.output(node)
                case Block():
                    self.block(node)
                case Partial():
                    self.partial(node)
                case Inline():
                    pass
        self.partials = outer

    def output(self, node: Output) -> None:
        """A value, printed."""
        expression = self.call(node.call)
        if self.paths.is_whole_number(expression):
            self.text(f"f'{{{expression}}}'")
        elif node.is_raw and self.escape:
            if self.literal:
                self.pair("''")
            self.pieces += [f"text_of({expression})", "''"]
        else:
            self.value(expression)

    def partial(self, node: Partial) -> None:
        """An inline partial, written out where it is used."""
        inline = self.partials.get(node.name)
        if inline is None:
            text = f"there is no inline partial {node.name!r}, and templates cannot include others"
            raise TemplateError(text, node.line, node.column)
        if node.name in self.expanding:
            raise TemplateError(f"the partial {node.name!r} includes itself", node.line, node.column)
        if self.cost > self.limits.nodes_max or len(self.expanding) > self.limits.loop_depth_max:
            raise TemplateError("the partials are too many", node.line, node.column)
        self.flush()
        outer, blocks = self.scope, self.blocks
        names = {name: self.variable(argument) for name, argument in node.named.items()}
        subject = HERE if node.context is None else node.context
        var = self.variable(subject)
        parent = outer.parent or outer if self.is_here(subject) else outer
        self.scope = Scope(var, parent, Kind.PARTIAL, names, is_nullable=True)
        self.expanding.append(node.name)
        self.blocks = []
        self.sequence(inline.body)
        self.flush()
        self.expanding.pop()
        self.scope, self.blocks = outer, blocks

    # --- blocks

    def block(self, node: Block) -> None:
        """A section with its else, and what encloses their contents, for `repeats_with`."""
        subject = ""
        for about in node.call.arguments[:1]:
            subject = about.name if isinstance(about, Path) and not (about.is_data or about.is_scoped) else "?"
        self.blocks.append((node.call.path.name, subject))
        self.links(node)
        self.blocks.pop()

    def links(self, node: Block) -> None:
        """A section with its else; a chain of `else if` is written flat, since Python nests only so deep."""
        self.flush()
        chain = [node]
        while len(chain[-1].otherwise) == 1 and is_chained(chain[-1].otherwise[0]):
            chain.append(chain[-1].otherwise[0])  # type: ignore[arg-type]  # is_chained says it is a Block
        outer = self.scope
        if len(chain) == 1:
            self.scope = self.link(node)
            if node.otherwise:
                self.line("else:")
                self.branch(node.otherwise)
            self.scope = outer
            return
        self.nest(node.call)
        self.line("while True:")
        self.level += 1
        self.paths.enter()
        for link in chain:
            self.scope = self.link(link)
            self.lines.append(" " * (self.level + 1) + "break")
        self.inner += 1
        self.sequence(chain[-1].otherwise)
        self.inner -= 1
        self.flush()
        self.line("break")
        self.paths.leave()
        self.level -= 1
        self.loops -= 1
        self.scope = outer

    def nest(self, call: Call) -> None:
        """One more Python loop inside others."""
        self.loops += 1
        if self.loops > self.limits.loop_depth_max:
            text = f"loops are nested deeper than {self.limits.loop_depth_max}"
            raise TemplateError(text, call.line, call.column)

    def branch(self, nodes: list[Node]) -> None:
        """The body of an `if` or a `for`."""
        self.level += 1
        self.inner += 1
        self.paths.enter()
        begin = len(self.lines)
        self.sequence(nodes)
        self.flush()
        if len(self.lines) == begin:
            self.line("pass")
        self.paths.leave()
        self.inner -= 1
        self.level -= 1

    def link(self, node: Block) -> Scope:
        """`if …:` and the block's body; returns the scope of its else."""
        path = node.call.path
        name = path.name if not (path.is_data or path.is_scoped) else ""
        self.inner += 1
        has_arguments = bool(node.call.arguments)
        if name in ("if", "unless", "each", "with"):
            outside = self.built_in(name, node)
        elif name in BLOCK_CONDITIONS and has_arguments:
            call = Call(path, node.call.arguments, {}, node.call.line, node.call.column)
            outside = self.condition(f"truth({self.helper(name, call)})", node)
        elif name in HELPERS and has_arguments:
            raise TemplateError(f"{name} cannot be a block", node.call.line, node.call.column)
        elif node.is_inverted and not node.body:
            outside = self.condition(f"truth({self.call(node.call)})", node)
        else:
            outside = self.loop(node, self.call(node.call), is_each=False)
        self.inner -= 1
        return outside

    def built_in(self, name: str, node: Block) -> Scope:
        """If, unless, each and with: what follows their argument is ignored, as handlebars.java does."""
        if not node.call.arguments:
            raise TemplateError(f"{name} takes one argument", node.call.line, node.call.column)
        value = self.argument(node.call.arguments[0])
        if name == "each":
            return self.loop(node, value, is_each=True)
        if name == "with":
            return self.step(node, value)
        test = self.test(value, node.call.named.get("includeZero"))
        return self.condition(test if name == "if" else f"not {test}", node)

    def test(self, value: str, includes_zero: Argument | None) -> str:
        """Whether a value is true; most are strings."""
        if includes_zero is not None:
            return f"truth_or_zero({value}, {self.argument(includes_zero)})"
        assigned, var = self.paths.bound(value)
        return f"({var} if type({assigned}) is str else truth({var}))"

    def condition(self, test: str, node: Block) -> Scope:
        """One of two branches, both in the scope that surrounds them."""
        outer = self.scope
        self.scope = outer.named(node.names, [outer.model()])
        self.line(f"if {test}:")
        self.branch(node.body)
        inner, self.scope = self.scope, outer
        return inner

    def step(self, node: Block, value: str) -> Scope:
        """`with`: into a value; its else, too."""
        var = self.paths.new("s")
        self.line(f"{var} = {value}")
        outer, stays = self.scope, self.is_here(node.call.arguments[0])
        self.scope = (outer if stays else outer.child(var)).named(node.names, [var])
        self.line(f"if truth({var}):")
        self.branch(node.body)
        self.scope = outer
        inside = outer if stays else outer.child(var, is_nullable=True, is_bare=True)
        return inside.named(node.names, [var])

    def loop(self, node: Block, value: str, *, is_each: bool) -> Scope:
        """A body for each item; `{{#x}}` steps into what is no list."""
        self.nest(node.call)
        number = self.paths.number()
        subject, found, index, item = (f"{letter}{number}" for letter in "xyis")
        self.line(f"{subject} = {value}")
        other = f"items({subject})" if is_each else f"section({subject}, {self.scope.model()})"
        self.line(f"{found} = {subject} if type({subject}) is list else {other}")
        base = "0"
        if is_each and "base" in node.call.named:
            base = f"b{number}"
            self.line(f"{base} = base_of({subject}, {self.argument(node.call.named['base'])})")
        self.line(f"if {found}:")
        self.level += 1
        place = len(self.lines)
        self.line("")
        self.line(f"if n > {self.limits.operations_max}: stop({self.limits.operations_max})")
        keys = Keys(f"k{number}", subject, base)
        self.line("")
        self.line(f"for {index}, {item} in enumerate({found}, {base}):")
        outer, cost = self.scope, self.cost
        inside = outer.child(item, is_nullable=True, loop=Loop(number, base, keys.use, not is_each))
        key = [f"{keys.use()}[{index} - {base}]"] if len(node.names) > 1 else []
        self.scope = inside.named(node.names, [item, *key])
        self.branch(node.body)
        self.scope = outer
        indent = " " * self.level
        self.lines[place] = f"{indent}n += len({found}) * {self.cost - cost + 1}"
        self.lines[place + 2] = indent + (f"{keys.var} = keys({subject}, {base})" if keys.is_used else "pass")
        self.level -= 1
        self.loops -= 1
        if is_each or node.is_inverted:
            return outer.named(node.names, [outer.model()])
        return Scope(subject, outer, Kind.ELSE)


@dataclass(slots=True)
class Keys:
    """A loop's keys, which are only made if its body names one."""

    var: str
    subject: str
    base: str
    is_used: bool = field(default=False)

    def use(self) -> str:
        """The variable."""
        self.is_used = True
        return self.var


def is_chained(node: Node) -> bool:
    """Whether this is an `else if`."""
    return isinstance(node, Block) and node.is_chained
