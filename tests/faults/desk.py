"""The coordinator's request path in this process: the real store, book, turn, crew and handlers, and a worker made of data.

For questions of order that no real process can be made to ask again and again: what comes between a wish and its commit, and
all pairs of requests. `Desk.ask` is a request; `Desk.end` is the worker's report of an attempt.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from ipc.frames import Frame
from ipc.paths import Paths
from ipc.score.load import load_score
from mozartd.coordinator import requests
from mozartd.coordinator.admission import Admission, Bounds
from mozartd.coordinator.assign import Assigner, Scores
from mozartd.coordinator.book import Book
from mozartd.coordinator.caps import Caps
from mozartd.coordinator.crew import Crew, Worker
from mozartd.coordinator.endings import Endings
from mozartd.coordinator.followers import Followers
from mozartd.coordinator.journal import Journal
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Job
from mozartd.coordinator.once import Once
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.registry import Registry
from mozartd.coordinator.settle import release_successors
from mozartd.coordinator.turn import Turn
from mozartd.settings import Settings
from mozartd.store.store import Store
from tests.unit.scenes import report


class Wire:
    """A worker's end of the line: what it was sent."""

    lost = False

    def __init__(self) -> None:
        self.frames: deque[Frame] = deque()

    def send(self, frame: Frame) -> None:
        self.frames.append(frame)

    def told(self, kind: str) -> list[str]:
        return [frame["attempt"] for frame in self.frames if frame["type"] == kind]


class Desk:
    def __init__(self, store: Store, directory: Path) -> None:
        journal = Journal(0)
        self.store, self.book, self.limits = store, Book(journal, 0), Limits(journal)
        self.crew = Crew(self.book, self.limits, os.getpid())
        self.wire = Wire()
        self.worker = Worker("worker", 0, slots=8, connection=cast("Any", self.wire))
        self.crew.workers["worker"] = self.worker
        caps = partial(Caps, self.book, self.limits, {}, {}, None)
        admission = Admission(Bounds())
        self.turn = Turn(store, self.book, self.limits, self.crew, 8, caps, lambda job, sheet: "", admission)
        scores, followers = Scores(store), Followers(self.crew.watch)
        paths = Paths("", "", str(directory), "", "")
        self.turn.assign = Assigner(self.book, self.crew, scores, followers, store, paths, 1 << 20).assign
        self.crew.due, self.crew.after_commit = self.turn.due, self.turn.after_commit
        self.turn.on_settled = self._settled
        nothing, setup = cast("Any", None), cast("Any", SimpleNamespace(deaths=-1, paths=paths))
        self.parts = Parts(
            setup, Settings(), store, journal, self.book, self.limits, self.crew, self.turn, scores, followers, {},
            Registry(self.book, store), Endings(), nothing, Once(store, self.turn), nothing, "", None, lambda: None,
        )  # fmt: skip
        self._handlers = requests.bind(self.parts)
        self._session = cast("Any", SimpleNamespace(who="tester"))

    def _settled(self, job: Job) -> None:
        release_successors(self.book, job, time.time())
        self.turn.due()

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        return cast("dict[str, Any]", await self._handlers[method](self._session, Params(params)))

    async def submit(self, score: Path, **params: Any) -> str:
        return cast("str", (await self.ask("submit", **submission(score), **params))["job"])

    async def settle(self) -> None:
        """Until everything that follows from what happened is on disk and done."""
        for _ in range(8):
            await self.turn.committed()
            await asyncio.sleep(0)

    async def end(self, attempt: str, verdict: str = "ok") -> None:
        code = "" if verdict == "ok" else "E004"
        self.crew._frame(self.worker, dict(report(attempt=attempt, verdict=verdict, code=code, ended_at=time.time())))
        await self.settle()

    async def end_all(self) -> None:
        """Every agent ends: stopped, where its worker was told to; well otherwise. Until nothing runs any more."""
        while self.book.running:
            attempt = next(iter(self.book.running))
            await self.end(attempt, "cancelled" if attempt in self.wire.told("cancel") else "ok")

    async def states(self, job: str) -> str:
        """`cancelled cancelled completed`: the job, and its sheets, as they are on disk."""
        await self.settle()
        (row,) = await self.store.read("job_by_id", job=job)
        sheets = await self.store.read("sheets_of", seq=row["seq"], after=0, limit=-1)
        return " ".join([row["state"], *(sheet["state"] for sheet in sheets)])


def submission(score: Path) -> dict[str, Any]:
    loaded = load_score(str(score))
    document = loaded.score.model_dump(mode="json")
    return {"score": document, "path": str(loaded.path), "source": loaded.source, "environment": {}}
