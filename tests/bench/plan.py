"""plan() after one event, with 10,000 ready sheets in 500 jobs; and how its cost grows with both."""

from __future__ import annotations

import time
from statistics import median

from ipc.states import Job as JobState
from mozartd.coordinator.book import Book
from mozartd.coordinator.caps import Caps
from mozartd.coordinator.journal import Journal
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Attempt, Job, Policy, Sheet
from mozartd.coordinator.schedule import plan
from tests.bench import Row

NOW = 1.0
CREDIT = 32
EVENTS = 400
SHORT = {"EVENTS": 5}


def measure() -> list[Row]:
    base, sheets, jobs = (after_one_event(*size) for size in ((500, 20), (500, 200), (5000, 20)))
    ours = f"{base:.0f} µs"
    growth = max(sheets, jobs) / base
    return [
        Row("plan(), 10,000 ready sheets in 500 jobs", ours, "", "≤ 1000 µs", base, base <= 1000),
        Row("plan(), ten times the sheets or the jobs", f"{growth:.1f}×", "log n: 1.25×", "≤ 2×", growth, growth <= 2),
    ]


def after_one_event(jobs: int, sheets: int) -> float:
    """Microseconds of settling the board and planning when one sheet has ended, at the median."""
    book, limits = world(jobs, sheets)
    running = [start(book, job, n) for job, n in planned(book, limits)]
    took = []
    for _ in range(EVENTS):
        job, sheet, attempt = running.pop(0)
        book.end(attempt)
        book.change_sheet(job, sheet, "complete", NOW)
        begin = time.perf_counter()
        starts = planned(book, limits)
        took.append(1e6 * (time.perf_counter() - begin))
        running += [start(book, job, n) for job, n in starts]
        book.take_changes()
        book.journal.take_unwritten()
    return median(took)


def world(jobs: int, sheets: int) -> tuple[Book, Limits]:
    journal = Journal(0)
    book = Book(journal, 0)
    for seq in range(1, jobs + 1):
        job = Job(seq, f"job-{seq}", "job", "", "", 0, "", 0.0, Policy(max_concurrent=100), state=JobState.RUNNING)
        job.take([Sheet(n, n, 1, 1, n, n, (), "command/default/default") for n in range(1, sheets + 1)])
        book.add(job)
    return book, Limits(journal)


def planned(book: Book, limits: Limits) -> list[tuple[Job, int]]:
    book.board.settle(NOW)
    return plan(book.board, Caps(book, limits, {}, {}, None, NOW), CREDIT - len(book.running), NOW)


def start(book: Book, job: Job, n: int) -> tuple[Job, Sheet, Attempt]:
    return job, job.sheets[n], book.start(job, job.sheets[n], "worker", NOW)
