"""A small campaign through kills of everything; `make chaos` is the large one."""

from tests.conftest import eventually
from tests.simulation.chaos import END_SECONDS, Chaos

KILLS = ["database", "worker", "relay", "server"]


def test_a_campaign_survives_whatever_is_killed(tmp_path):
    with Chaos(tmp_path, recipients=5_000, seed=1) as chaos:
        chaos.begin()
        for number, victim in enumerate(KILLS):
            eventually(lambda number=number: chaos.count() > number * 800, seconds=END_SECONDS)
            chaos.kill(victim)
        eventually(chaos.is_over, seconds=END_SECONDS)
        figures = chaos.check()

    assert sum(figures["kills"].values()) == len(KILLS)
    assert figures["messages"] + figures["held out"] == 5_000
