"""When the keeper looks at the logs."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from ipc.paths import Paths
from mozartd.coordinator import keeper
from mozartd.coordinator.retention import Bounds


class Ahead(asyncio.SelectorEventLoop):
    """Its clock can be set forward."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class Told(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.event.set()


def test_a_look_that_fails_is_taken_again(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.write_text("not a directory")
    loop = Ahead()

    async def play() -> None:
        told, looked = Told(), asyncio.Event()
        keeper.log.addHandler(told)
        # It asks what runs after each look.
        keeping = keeper.Keeper(
            Paths("", "", str(logs), "", ""),
            Bounds(1 << 30, 1 << 30, None),
            lambda: loop.call_soon_threadsafe(looked.set) and (),
        )
        keeping.due()
        await told.event.wait()
        keeper.log.removeHandler(told)
        logs.unlink()
        (logs / "job-1").mkdir(parents=True)
        (logs / "job-1" / "1.1.log").write_text("hello")
        assert not looked.is_set()
        loop.ahead = keeper.RETRY_LOOK
        await looked.wait()
        # That was asked in the middle of it.
        await keeping.count(["job-1"], lambda *found: None)
        assert keeping.bytes == 5
        keeping.close()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(play())
