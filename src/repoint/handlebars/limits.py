"""How much a template may ask for, so that a hostile one cannot hang or exhaust its server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of one template.

    An operation is one part of a template rendered once more by a loop, or 256 characters given to a helper or
    by it.
    """

    source_characters_max: int = 1_000_000
    depth_max: int = 50  # of blocks in blocks
    loop_depth_max: int = 15  # of loops and else-if chains in one another; Python nests no more than 20
    expression_depth_max: int = 20  # of sub-expressions in sub-expressions
    nodes_max: int = 20_000
    statements_max: int = 30_000
    operations_max: int = 500_000
    output_characters_max: int = 10_000_000


DEFAULT_LIMITS = Limits()
