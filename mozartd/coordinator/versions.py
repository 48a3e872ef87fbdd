"""Another version of a job, made in a thread while nobody may touch its sheets (`alone`), and put in its place at once.

A version is a copy with sheets of its own, and what is to be told and written for them. Made by requests that change very many
sheets as one fact; the copy never meets the book, `Book.adopt` takes its sheets.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mozartd.coordinator.book import Book
from mozartd.coordinator.journal import Event, Journal
from mozartd.coordinator.model import Job, Sheet
from mozartd.store.store import Write


@dataclass(slots=True)
class Version:
    job: Job
    writes: list[Write] = field(default_factory=list)
    """Of its sheets."""
    events: list[Event] = field(default_factory=list)


def version_of(job: Job, sheets: Iterable[Sheet], change: Callable[[Book, Job], None]) -> Version:
    """The job with these sheets, which nobody else has, after `change`, which may change them and nothing else of it."""
    other = copy.copy(job)
    other.take(sheets)
    journal = Journal(0)
    book = Book(journal, 0)
    book.jobs[other.id] = other
    change(book, other)
    for _ in book.following(other):
        pass
    writes = [write for write in book.take_changes() if write[0] == "put_sheet"]
    return Version(other, writes, [event for event in journal.take_unwritten() if isinstance(event, Event)])
