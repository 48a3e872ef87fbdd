"""The settings in force, and what a change of them needs: which processes take new values over only by being replaced.

A setting that nobody listed needs a new coordinator, which costs a moment and no agent. Reads no file itself and replaces
nobody; called by the supervisor at a reload.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from enum import StrEnum

from mozartd.launch import Launch
from mozartd.settings import Settings

log = logging.getLogger("supervisor")


class Need(StrEnum):
    NOBODY = "applied"
    COORDINATOR = "applied (coordinator restarted)"
    WORKERS = "applied to new workers; old workers exit when their agents finish"
    EVERYBODY = "applied (coordinator restarted) to new workers; old workers exit when their agents finish"


Needs = dict[str, Need]
"""Each setting that changed, and what that needs."""


class InForce:
    def __init__(self, settings: Settings, launch: Launch) -> None:
        self.settings = settings
        self._launch = launch
        self._proven: Settings | None = None
        self.warnings = self._warn(settings)
        """What in the settings, as they were last read, may be meant otherwise."""

    def prove(self) -> None:
        """The coordinator is ready with them."""
        self._proven = self.settings

    def reload(self) -> tuple[Needs, dict[str, str]]:
        """What changed, and what in the file is not in force and why. Raises MozartError, and then nothing has changed."""
        settings = self._launch.load_settings()
        overruled = dict(self._launch.overruled(settings))
        needs = self._replace(settings)
        for name, need in needs.items():
            log.info("reloading: %s: %s", name, need)
        for name, winner in overruled.items():
            log.warning("reloading: %s: not applied, %s overrides it until the daemon is restarted", name, winner)
        if not needs:
            log.info("reloading: nothing changed")
        self.warnings = self._warn(settings)
        return needs, overruled

    def _warn(self, settings: Settings) -> list[str]:
        warnings = self._launch.doubts(settings)
        for warning in warnings:
            log.warning("%s", warning)
        return warnings

    def go_back(self) -> Needs:
        """To those with which the coordinator was last ready. Empty when they are in force, or none ever were."""
        return {} if self._proven in (None, self.settings) else self._replace(self._proven)

    def _replace(self, settings: Settings) -> Needs:
        needs, self.settings = compare(self.settings, settings), settings
        return needs


def compare(before: Settings, after: Settings) -> Needs:
    changed = [name for name in Settings.model_fields if getattr(before, name) != getattr(after, name)]
    if after.prices is not None and "prices" not in changed:
        # The name of a file is no sign that what is in it has not changed.
        changed.append("prices")
    return {name: need(name) for name in changed}


def need(name: str) -> Need:
    if name not in Settings.WORKER_FIELDS:
        return Need.NOBODY if name in Settings.SUPERVISOR_FIELDS else Need.COORDINATOR
    return Need.EVERYBODY if name in Settings.SHARED_FIELDS else Need.WORKERS


def is_replaced(role: str, needs: Iterable[Need]) -> bool:
    """Whether children of this role are."""
    mine = Need.COORDINATOR if role == "coordinator" else Need.WORKERS
    return any(one in (mine, Need.EVERYBODY) for one in needs)
