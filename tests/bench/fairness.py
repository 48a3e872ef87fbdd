"""One job of 2,000 sheets and ten of 20, of equal weight: the real plan(), a fake clock, sheets that take one to three seconds.

Jain's index over the time in which all of them have work: 1 when all got the same, 1/n when one got everything.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter

from mozartd.coordinator.board import Board
from mozartd.coordinator.book import Book
from mozartd.coordinator.caps import Caps
from mozartd.coordinator.journal import Journal
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Attempt, Job, Policy, Sheet
from mozartd.coordinator.schedule import plan
from tests.bench import Row

SIZES = [2000, *[20] * 10]
CREDIT = 16


def measure() -> list[Row]:
    served = play()
    index = sum(served.values()) ** 2 / (len(served) * sum(count**2 for count in served.values()))
    shares = f"{min(served.values())} to {max(served.values())} sheets each"
    return [Row("fairness, 1 × 2,000 and 10 × 20 sheets", f"{index:.4f}", shares, "≥ 0.98", index, index >= 0.98)]


def play() -> Counter[str]:
    """Sheets that each job was served while all had some to start."""
    chance = random.Random(4)
    book = Book(Journal(0), len(SIZES))
    for seq, size in enumerate(SIZES, 1):
        job = Job(seq, f"job-{seq}", "job", "", "", 0, "", 0.0, Policy(max_concurrent=CREDIT))
        job.take([Sheet(n, n, 1, 1, n, n, (), "command/default/default") for n in range(1, size + 1)])
        book.add(job)
    limits, now = Limits(book.journal), 0.0
    ending: list[tuple[float, str, Attempt]] = []
    served: Counter[str] = Counter()
    while all(job.ready for job in book.jobs.values()):
        while starts := planned(book, limits, now):
            for job, n in starts:
                attempt = book.start(job, job.sheets[n], "worker", now)
                heapq.heappush(ending, (now + chance.uniform(1, 3), attempt.id, attempt))
                served[job.id] += 1
        now, _, attempt = heapq.heappop(ending)
        book.end(attempt)
        book.change_sheet(*book.find(attempt), "complete", now)
    return served


def planned(book: Book, limits: Limits, now: float) -> list[tuple[Job, int]]:
    board: Board = book.board
    board.settle(now)
    credit = CREDIT - len(book.running)
    return plan(board, Caps(book, limits, {}, {}, None, now), credit, now) if credit > 0 else []
