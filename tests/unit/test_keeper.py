"""When the keeper looks at the logs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from ipc.paths import Paths
from mozartd.coordinator.keeper import RETRY_LOOK, Keeper
from mozartd.coordinator.retention import Bounds


class Ahead(asyncio.SelectorEventLoop):
    """Its clock can be set forward."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


async def become(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # what the keeper saw is told by nobody
            await asyncio.sleep(0.005)


def test_a_look_that_fails_is_taken_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logs = tmp_path / "logs"
    logs.write_text("not a directory")

    async def play() -> None:
        keeper = Keeper(Paths("", "", str(logs), "", ""), Bounds(1 << 30, 1 << 30, None), set)
        keeper.due()
        await become(lambda: "cannot look at the logs" in caplog.text)
        logs.unlink()
        (logs / "job-1").mkdir(parents=True)
        (logs / "job-1" / "1.1.log").write_text("hello")
        assert keeper.bytes == 0
        loop.ahead = RETRY_LOOK
        await become(lambda: keeper.bytes == 5)
        keeper.close()

    loop = Ahead()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(play())
