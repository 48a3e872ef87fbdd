"""Who waits for a job to end: one future a job, done when its end (or pause) is on disk."""

from __future__ import annotations

import asyncio

from mozartd.coordinator.model import Job


class Endings:
    def __init__(self) -> None:
        self._futures: dict[str, asyncio.Future[None]] = {}

    def of(self, job: Job) -> asyncio.Future[None]:
        """Shared by all who wait for this job; never cancelled by one of them (`asyncio.wait` does not)."""
        future = self._futures.get(job.id)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            if job.is_settled:
                future.set_result(None)
            else:
                self._futures[job.id] = future
        return future

    def tell(self, job: Job) -> None:
        future = self._futures.pop(job.id, None)
        if future is not None and not future.done():
            future.set_result(None)
