"""What is asked twice is done once: the answers to requests that carry a key, kept while somebody may ask again.

A client that lost its coordinator cannot know whether that had done what it was asked, so it asks the next one with the same
key (`ipc.line`). The answer is a row of the transaction that it answers for: both are on disk, or neither is. A request that is
refused changed nothing and leaves no answer. Called by the handlers in `requests/`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson

from mozartd.coordinator.turn import Turn
from mozartd.store.store import Store, Write

Answer = dict[str, Any]

#: Seconds for which an answer is kept: no client is that patient.
KEPT_SECONDS = 600.0


class Once:
    def __init__(self, store: Store, turn: Turn) -> None:
        self._store = store
        self._turn = turn
        self._under_way: dict[str, asyncio.Future[Any]] = {}
        """Answers on their way to the disk, by key."""

    def __repr__(self) -> str:
        return f"<Once {len(self._under_way)} under way>"

    async def answer(self, key: str) -> Answer | None:
        """What this request was answered before; None when it was not. `key` may be '': then it was not."""
        if not key:
            return None
        if (earlier := self._under_way.get(key)) is not None:
            # Its client went away while it was being saved, and is here again.
            await asyncio.wait([earlier])
        row = await self._store.read_one("answer_to", key=key)
        return None if row is None else orjson.loads(row["answer"])

    def rows(self, key: str, answer: Answer) -> list[Write]:
        """For the transaction with what the answer says; none without a key."""
        if not key:
            return []
        now = time.time()
        kept = {"key": key, "at": now, "answer": orjson.dumps(answer).decode()}
        return [("drop_answers", {"before": now - KEPT_SECONDS}), ("put_answer", kept)]

    async def commit(self, key: str, answer: Answer) -> Answer:
        """Give this answer when it and all changes made so far are on disk."""
        self._turn.write(self.rows(key, answer))
        await self.saved(key, self._turn.committed())
        return answer

    async def saved(self, key: str, saving: asyncio.Future[None]) -> None:
        """Wait for it. A client that goes away meanwhile stops waiting, and nothing else."""
        if key:
            self._under_way[key] = saving
            saving.add_done_callback(lambda _: self._under_way.pop(key, None))
        # Whoever waits is told of a failure; when nobody does, there is nobody to tell.
        saving.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(saving)
