"""How much a template may ask for, so that a hostile one cannot hang or exhaust its server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of one template."""

    source_characters_max: int = 1_000_000
    depth_max: int = 50
    nodes_max: int = 20_000
    loop_items_max: int = 10_000
    output_characters_max: int = 10_000_000
    operations_max: int = 200_000


DEFAULT_LIMITS = Limits()
