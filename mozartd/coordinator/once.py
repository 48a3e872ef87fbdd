"""What is asked twice is done once: the answers to requests that carry a key, kept while somebody may ask again.

A client that lost its coordinator cannot know whether that had done what it was asked, so it asks the next one with the same
key (`ipc.line`). The way of a request: take the key, decide, commit, act, answer. The key is taken before anything is waited
for: whoever comes second waits, and gets the first one's answer. The answer is a row of the transaction that it answers for:
both are on disk, or neither is; while the disk takes neither, the same key gets the same refusal. A request that is refused
changed nothing and leaves no answer. `ask` is called by `requests`, the rest by its handlers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
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
        self._asking: dict[str, asyncio.Task[Answer]] = {}
        """By key: who is at it."""
        self._unsaved: dict[str, Answer] = {}
        """By key: what was done, and is not on disk. Outlives who asked for it."""
        self._entering: dict[str, asyncio.Task[Answer]] = {}
        """By key: what goes on without who asked for it."""

    def __repr__(self) -> str:
        return f"<Once {len(self._asking)} asking, {len(self._unsaved)} unsaved>"

    async def ask(self, key: str, handle: Callable[[], Awaitable[Answer]]) -> Answer:
        """Have it done, once; `key` may be '': then as often as it is asked."""
        if not key:
            return await handle()
        while (first := self._asking.get(key)) is not None:
            await asyncio.wait([first])
            if not first.cancelled():
                return first.result()
            # Its client went away before anything was decided: who comes next decides.
        mine = asyncio.get_running_loop().create_task(self._answer(key, handle), name=f"ask {key}")
        self._asking[key] = mine
        mine.add_done_callback(lambda _: self._asking.pop(key))
        return await mine

    async def _answer(self, key: str, handle: Callable[[], Awaitable[Answer]]) -> Answer:
        if (entering := self._entering.get(key)) is not None:
            return await asyncio.shield(entering)
        if (answer := self._unsaved.get(key)) is not None:
            await self._turn.committed()
            return answer
        row = await self._store.read_one("answer_to", key=key)
        return await handle() if row is None else orjson.loads(row["answer"])

    def rows(self, key: str, answer: Answer) -> list[Write]:
        """For the transaction with what the answer says; none without a key."""
        if not key:
            return []
        now = time.time()
        kept = {"key": key, "at": now, "answer": orjson.dumps(answer).decode()}
        return [("drop_answers", {"before": now - KEPT_SECONDS}), ("put_answer", kept)]

    async def commit(self, key: str, answer: Answer) -> Answer:
        """Give this answer when it and all changes made so far are on disk."""
        self.put(key, answer)
        await self._turn.committed()
        return answer

    def put(self, key: str, answer: Answer) -> None:
        """Its row, with all changes made so far: of who cannot wait for them yet."""
        self._turn.write(self.rows(key, answer))
        if key:
            self._unsaved[key] = answer
            self._turn.after_commit(partial(self._forget, key))

    def _forget(self, key: str) -> None:
        del self._unsaved[key]

    async def enter(self, key: str, work: Coroutine[Any, Any, Answer]) -> Answer:
        """See this through: a client that goes away meanwhile stops waiting, and nothing else."""
        entering = asyncio.get_running_loop().create_task(work, name=f"enter {key}")
        if key:
            self._entering[key] = entering
            entering.add_done_callback(lambda _: self._entering.pop(key))
        # Whoever waits is told of a failure; when nobody does, there is nobody to tell.
        entering.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(entering)
