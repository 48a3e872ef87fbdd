"""How many more may start, by everything that caps it: what `schedule.plan` asks.

Made anew for each plan from the limits, the groups, the settings and what runs; answers for one `now` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from mozartd.coordinator.book import Book
from mozartd.coordinator.limits import Limits


class Caps:
    def __init__(
        self,
        book: Book,
        limits: Limits,
        backends: Mapping[str, int],
        groups: Mapping[str, int],
        jobs: int | None,
        now: float,
    ) -> None:
        self._book = book
        self._limits = limits
        self._backends = backends
        self._groups = groups
        self._jobs = jobs
        self._now = now

    def of_scope(self, scope: str) -> int | None:
        return self._limits.room(scope, self._now)

    def of_backend(self, backend: str) -> int | None:
        return _left(self._backends.get(backend), self._book.running_in[f"backend:{backend}"])

    def of_group(self, group: str) -> int | None:
        return _left(self._groups.get(group), self._book.running_in[f"group:{group}"])

    def of_jobs(self) -> int | None:
        return _left(self._jobs, self._book.begun)


def _left(cap: int | None, running: int) -> int | None:
    return None if cap is None else max(0, cap - running)
