"""A small campaign through kills of everything; `make chaos` is the large one."""

import pytest

from tests.simulation.chaos import Chaos

KILLS = ["database", "worker", "relay", "server"]


@pytest.mark.parametrize("seed", [1])
def test_a_campaign_survives_whatever_is_killed(tmp_path, seed):
    with Chaos(tmp_path, 5_000, seed) as chaos:
        chaos.begin()
        for number, victim in enumerate(KILLS):
            chaos.until(lambda number=number: chaos.count() > number * 800)
            chaos.kill(victim)
        chaos.until(chaos.is_over)
        figures = chaos.check()

    assert figures["repeats"] <= chaos.repeats_max
