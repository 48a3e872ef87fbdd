"""The coordinator's parts, put together once by `main` and handed to the request handlers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ipc.setup import CoordinatorSetup
from mozartd.coordinator.assign import Scores
from mozartd.coordinator.book import Book
from mozartd.coordinator.crew import Crew
from mozartd.coordinator.endings import Endings
from mozartd.coordinator.followers import Followers
from mozartd.coordinator.journal import Journal
from mozartd.coordinator.keeper import Keeper
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.once import Once
from mozartd.coordinator.registry import Registry
from mozartd.coordinator.troubles import Troubles
from mozartd.coordinator.turn import Turn
from mozartd.settings import Settings
from mozartd.store.store import Store


@dataclass(slots=True)
class Parts:
    setup: CoordinatorSetup
    settings: Settings
    store: Store
    journal: Journal
    book: Book
    limits: Limits
    crew: Crew
    turn: Turn
    scores: Scores
    followers: Followers
    groups: dict[str, int]
    """How many sheets of a group run at once: name → number."""
    registry: Registry
    endings: Endings
    keeper: Keeper
    once: Once
    troubles: Troubles
    identity: str
    """What this daemon signs with what it makes outside its own directories."""
    metrics_url: str | None
    drain: Callable[[], None]
    """Take nothing new; stop everything when nothing runs any more."""
