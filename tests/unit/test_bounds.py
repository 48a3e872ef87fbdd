"""What peers may make a process keep: who has kept us waiting longest pays when it becomes too much."""

from __future__ import annotations

import asyncio

from ipc.bounds import FREE, MOST_HALVES, MOST_UNSENT, PeerBounds


class Peer:
    def __init__(self, unsent: int = 0) -> None:
        self.unsent = unsent
        self.refusals: list[str] = []
        self.is_refused = asyncio.Event()
        self.is_aborted = False

    def refuse(self, sentence: str) -> None:
        self.refusals.append(sentence)
        self.is_refused.set()

    def abort(self) -> None:
        self.is_aborted = True


async def test_the_oldest_half_frame_pays_for_too_many_bytes() -> None:
    kept = PeerBounds()
    small, old, young = Peer(), Peer(), Peer()
    kept.half(small, FREE)
    kept.half(old, MOST_HALVES // 2)
    kept.half(young, MOST_HALVES // 2)
    assert not any(peer.refusals for peer in (small, old, young))
    kept.half(young, MOST_HALVES // 2 + 3 * FREE)
    assert old.refusals
    assert "frame" in old.refusals[0]
    assert not young.refusals
    assert not small.refusals


async def test_what_is_whole_or_lost_counts_no_more() -> None:
    kept = PeerBounds()
    for _ in range(10):
        one, other = Peer(), Peer()
        kept.half(one, MOST_HALVES // 2)
        kept.whole(one)
        kept.half(other, MOST_HALVES // 2)
        kept.lost(other)
        assert not one.refusals
        assert not other.refusals


async def test_a_half_frame_has_its_time() -> None:
    kept = PeerBounds(half_seconds=0.05)
    late, quick = Peer(), Peer()
    kept.half(late, 2)
    kept.half(quick, 2)
    kept.whole(quick)
    async with asyncio.timeout(5):
        await late.is_refused.wait()
    assert not quick.refusals


async def test_who_reads_least_recently_is_hung_up_on_when_too_much_waits_to_be_read() -> None:
    kept = PeerBounds()
    old, caught_up, young = Peer(MOST_UNSENT), Peer(MOST_UNSENT), Peer(10)
    kept.behind(caught_up)
    kept.caught_up(caught_up)
    kept.behind(old)
    kept.behind(young)
    assert old.is_aborted
    assert not young.is_aborted
    assert not caught_up.is_aborted
