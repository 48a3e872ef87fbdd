"""Shares of the loop: what costs whom, and while who is there."""

from __future__ import annotations

from mozartd.coordinator.crowd import REFILL, REFUSED, Crowd

ATTACKER, OTHER = 1, 2
#: More than an allowance covers.
AGAIN_AND_AGAIN = 10


async def test_who_is_refused_again_and_again_waits_while_others_are_there() -> None:
    crowd = Crowd()
    crowd.note(crowd.share(OTHER))
    attacker = crowd.share(ATTACKER)
    for _ in range(AGAIN_AND_AGAIN):
        attacker.refused()
    assert crowd.came(ATTACKER) > REFUSED / REFILL
    assert not crowd.came(OTHER)


async def test_who_is_refused_alone_owes_nothing_to_who_comes_later() -> None:
    crowd = Crowd()
    attacker = crowd.share(ATTACKER)
    for _ in range(AGAIN_AND_AGAIN):
        attacker.refused()
    crowd.note(crowd.share(OTHER))
    assert not crowd.came(ATTACKER)
