"""One at a time, and once more for all who asked meanwhile."""

from __future__ import annotations

import asyncio
import gc

import pytest

from mozartd.coordinator.single import Single


async def over(name: str) -> None:
    await asyncio.wait([task for task in asyncio.all_tasks() if task.get_name() == name])


async def test_a_thousand_who_ask_at_once_are_served_by_one_and_those_who_ask_meanwhile_by_another() -> None:
    began: asyncio.Queue[None] = asyncio.Queue()
    gate = asyncio.Semaphore(0)

    async def work() -> None:
        began.put_nowait(None)
        await gate.acquire()

    single = Single(work, "counting")
    for _ in range(1000):
        single.due()
    await began.get()
    for _ in range(1000):
        single.due()
    gate.release()
    await began.get()
    assert repr(single) == "<Single counting, at work>"
    gate.release()
    await over("counting")
    assert began.empty()


async def test_work_that_failed_is_done_when_it_is_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("tried")
        if len(done) == 1:
            raise ValueError("once")

    single = Single(work, "failing")
    for _ in range(2):
        single.due()
        await over("failing")
    assert done == ["tried", "tried"]
    gc.collect()
    assert "once" in caplog.text, "and nobody is left in the dark"
