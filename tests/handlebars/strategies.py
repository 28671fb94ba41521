"""Random templates, many of which render, and random contexts for them."""

from hypothesis import strategies as st

from repoint.handlebars.helpers import HELPERS

PATHS = (
    "a b list map text n this ../a . .. @index @key @root.a a.b map.k list.[0] [x] __class__ a.__class__ list.[9] v"
    " v.secret Ünï @last @../index nope"
)
FRAGMENTS = "{{ }} {{else}} {{/if}} {{!c}} \\{{a}} {{>p}} {{#if {{{{a}}}}x{{{{/a}}}} ' \\ {{#a}} {{^}} {{/a}}"
NAMES = st.sampled_from(PATHS.split())
HELPER_NAMES = st.sampled_from(sorted(HELPERS))
LITERALS = st.one_of(
    st.integers(-1000, 1000).map(str),
    st.floats(-1e6, 1e6).map(lambda number: f"{number:.3f}"),
    st.text(st.characters(exclude_characters="\"'\\{}"), max_size=8).map(lambda text: f'"{text}"'),
    st.sampled_from(["true", "false", "null"]),
)


def call_of(name, arguments):
    return f"{name} {' '.join(arguments)}"


def chain_of(block, call, body, other):
    return f"{{{{#{block} {call}}}}}{body}{{{{else if a}}}}{other}{{{{else}}}}{body}{{{{/{block}}}}}"


def loop_of(call, body):
    return f"{{{{#each {call} as |p q|}}}}{body}{{{{p}}}}{{{{q}}}}{{{{@last}}}}{{{{/each}}}}"


def partial_of(body):
    return f'{{{{#*inline "p"}}}}{body}{{{{/inline}}}}{{{{> p map x=a}}}}'


def section_of(name, body):
    return f"{{{{#{name}}}}}{body}{{{{^}}}}-{{{{/{name}}}}}"


ARGUMENTS = st.recursive(
    st.one_of(NAMES, LITERALS),
    lambda inner: st.builds(call_of, HELPER_NAMES, st.lists(inner, min_size=1, max_size=3)).map("({})".format),
    max_leaves=4,
)
CALLS = st.one_of(
    NAMES,
    st.builds(call_of, HELPER_NAMES, st.lists(ARGUMENTS, max_size=4)),
    st.builds("{} {} size={} pad={}".format, HELPER_NAMES, ARGUMENTS, LITERALS, ARGUMENTS),
)
TEMPLATES = st.recursive(
    st.one_of(
        st.text(max_size=12),
        CALLS.map(lambda call: f"{{{{{call}}}}}"),
        CALLS.map(lambda call: f"{{{{{{{call}}}}}}}"),
        CALLS.map(lambda call: f"{{{{~{call}~}}}}"),
        st.sampled_from(FRAGMENTS.split()),
    ),
    lambda inner: st.one_of(
        st.builds("".join, st.lists(inner, max_size=4)),
        st.builds(
            chain_of,
            st.sampled_from(["if", "unless", "each", "with", "eq", "and", "not", "gt"]),
            ARGUMENTS,
            inner,
            inner,
        ),
        st.builds(loop_of, ARGUMENTS, inner),
        st.builds(section_of, NAMES, inner),
        inner.map(partial_of),
    ),
    max_leaves=12,
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=3), inner, max_size=4)),
    max_leaves=10,
)
CONTEXTS = st.fixed_dictionaries({}, optional=dict.fromkeys(["a", "b", "list", "map", "text", "n", "x", "Ünï"], VALUES))
