"""How many more may start, by everything that caps it: what `schedule.plan` asks.

Made anew for each plan from the limits, the groups, the settings and what runs; answers for one `now` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from mozartd.coordinator.book import Book
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Job


class Caps:
    def __init__(
        self,
        book: Book,
        limits: Limits,
        backends: Mapping[str, int],
        groups: Mapping[str, int],
        jobs: int | None,
        now: float,
        workspace_lock: str = "warn",
    ) -> None:
        self._book = book
        self._limits = limits
        self._backends = backends
        self._groups = groups
        self._jobs = jobs
        self._workspace_lock = workspace_lock
        self._now = now

    def of_scope(self, scope: str) -> int | None:
        return self._limits.room(scope, self._now)

    def of_backend(self, backend: str) -> int | None:
        return _left(self._backends.get(backend), self._book.running_in[f"backend:{backend}"])

    def of_group(self, group: str) -> int | None:
        return _left(self._groups.get(group), self._book.running_in[f"group:{group}"])

    def limit_of_group(self, group: str) -> int | None:
        return self._groups.get(group)

    def of_jobs(self) -> int | None:
        return _left(self._jobs, self._book.begun)

    def keeper_of_workspace(self, job: Job) -> str:
        """The job that has the workspace which this one is to have for itself before it begins, or ''."""
        if self._lock_of(job) not in ("wait", "refuse"):
            return ""
        users = self._book.workspaces.get(job.real_workspace, {})
        return next((id for id, other in users.items() if other is not job and self._lock_of(other) != "share"), "")

    def _lock_of(self, job: Job) -> str:
        return job.policy.workspace_lock or self._workspace_lock

    def may_begin(self, job: Job, taken: Container[str]) -> bool:
        """`taken`: the workspaces of those that are about to begin."""
        if self._lock_of(job) not in ("wait", "refuse"):
            return True
        return job.real_workspace not in taken and not self.keeper_of_workspace(job)


def _left(cap: int | None, running: int) -> int | None:
    return None if cap is None else max(0, cap - running)
