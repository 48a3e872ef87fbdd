"""Jobs, reports and books for the tests of the coordinator's pure parts, and what must be true of a book at any time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from ipc.messages import Finished, Validation
from ipc.states import JOB_ENDED, SHEET_ENDED, SHEET_SATISFIED
from ipc.states import Sheet as SheetState
from mozartd.coordinator.book import Book
from mozartd.coordinator.journal import Journal
from mozartd.coordinator.model import Attempt, Job, Policy, Sheet

Dependencies = Mapping[int, Sequence[int]]

NO_WAIT = {"base_delay": 1.0, "jitter": False, "completion_delay": 0.0}


def make_job(
    dependencies: Dependencies | int,
    seq: int = 1,
    priority: int = 0,
    scopes: Mapping[int, str] | None = None,
    **policy: Any,
) -> Job:
    """A queued job; a number of sheets stands for so many that depend on nothing."""
    if isinstance(dependencies, int):
        dependencies = dict.fromkeys(range(1, dependencies + 1), ())
    sheets = [
        Sheet(n, n, 1, 1, n, n, tuple(needs), (scopes or {}).get(n, "command/default/default"))
        for n, needs in sorted(dependencies.items())
    ]
    job = Job(seq, f"job-{seq}", "job", "/score.yaml", "/workspace", priority, "", 0.0, Policy(**{**NO_WAIT, **policy}))
    job.take(sheets)
    return job


def make_book(*jobs: Job) -> Book:
    book = Book(Journal(0), len(jobs))
    for job in jobs:
        book.add(job)
    return book


def chain(length: int) -> dict[int, list[int]]:
    return {n: [n - 1] if n > 1 else [] for n in range(1, length + 1)}


@st.composite
def graphs(draw: st.DrawFn, most: int = 12) -> dict[int, list[int]]:
    """Acyclic in any numbering: a sheet may well depend on a later one."""
    order = draw(st.permutations(range(1, draw(st.integers(1, most)) + 1)))
    return {
        n: sorted(draw(st.sets(st.sampled_from(order[:place]), max_size=3))) if place else []
        for place, n in enumerate(order)
    }


@st.composite
def fan_outs(draw: st.DrawFn) -> dict[int, list[int]]:
    """Stages of several sheets, each depending on all or on its counterpart of the stage before."""
    widths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    graph: dict[int, list[int]] = {}
    before: list[int] = []
    for width in widths:
        stage = list(range(len(graph) + 1, len(graph) + 1 + width))
        for i, n in enumerate(stage):
            graph[n] = [before[i]] if len(before) == width else before
        before = stage
    return graph


# ---- reports ----------------------------------------------------------------------------------------------------


def rule(passed: bool = True, **fields: Any) -> Validation:
    value: Any = {
        "index": 0, "type": "file_exists", "stage": 1, "description": "a file", "passed": passed, "detail": "", "code":
        "" if passed else "E201", **fields,
    }  # fmt: skip
    return value


def report(verdict: str = "ok", code: str = "", rules: Sequence[Validation] = (), **fields: Any) -> Finished:
    value: Any = {
        "type": "finished", "attempt": "job-1:1:1", "verdict": verdict, "code": code, "message": "", "hint": "",
        "evidence": "", "exit_code": 0, "signal": None, "started_at": None, "ended_at": 0.0, "bytes": 0, "lines": 0,
        "tail": "", "cost_usd": None, "tokens": None, "session_id": None, "model": None, "limit": None,
        "validations": list(rules), "applicable": len(rules), "captured": {}, "survivors": 0, **fields,
    }  # fmt: skip
    return value


# ---- what must be true ------------------------------------------------------------------------------------------


def check_book(book: Book) -> None:
    """Every derived fact equals what is derived from nothing but the states; no state is one that cannot be."""
    for job in book.jobs.values():
        check_job(job)
    assert {(a.job, a.n): a.k for a in book.running.values()} == {
        (job.id, n): job.sheets[n].k for job in book.jobs.values() for n in job.running
    }
    running = [(book.find(attempt)[0], attempt) for attempt in book.running.values()]
    shared = [f"backend:{attempt.scope.partition('/')[0]}" for _, attempt in running]
    assert +book.running_in == Counter(shared + [f"group:{job.group}" for job, _ in running if job.group])


def check_job(job: Job) -> None:
    states = {n: sheet.state for n, sheet in job.sheets.items()}
    assert +job.counts == Counter(state.value for state in states.values())
    for n, sheet in job.sheets.items():
        assert sheet.missing == sum(states[d] not in SHEET_SATISFIED for d in sheet.dependencies), f"sheet {n}"
        assert (sheet.until is not None) == (sheet.state is SheetState.WAITING)
        if sheet.state in (SheetState.RUNNING, SheetState.WAITING):
            assert not sheet.missing, f"sheet {n} has begun before what it needs"
    pending = [n for n in sorted(states) if states[n] is SheetState.PENDING]
    ready = [n for n in pending if not job.sheets[n].missing]
    assert sorted(n for numbers in job.ready.values() for n in numbers) == ready
    assert all(numbers == [n for n in ready if job.sheets[n].scope == scope] for scope, numbers in job.ready.items())
    assert job.running == {n for n in states if states[n] is SheetState.RUNNING}
    assert job.troubled == {
        n for n, sheet in job.sheets.items() if sheet.history.attempts and states[n] is not SheetState.COMPLETED
    }
    over = all(state in SHEET_ENDED for state in states.values())
    assert over == (job.state in JOB_ENDED), f"{job} has only ended sheets, or has ended before them"
    if job.state in JOB_ENDED:
        assert job.ended_at is not None
        assert not job.wanted
    check_blocked(job)


def check_blocked(job: Job) -> None:
    """Nothing waits for what can never come."""
    if job.wanted == "cancel":
        return
    for n, sheet in job.sheets.items():
        dead = [d for d in sheet.dependencies if job.sheets[d].state in SHEET_ENDED - SHEET_SATISFIED]
        if dead:
            assert sheet.state in SHEET_ENDED, f"sheet {n} is {sheet.state} and needs {dead}, which will never be"


def all_ended(job: Job) -> bool:
    return job.state in JOB_ENDED and all(sheet.state in SHEET_ENDED for sheet in job.sheets.values())


def reopen(book: Book) -> Book:
    """The book as a restarted coordinator loads it: from rows alone."""
    again = Book(Journal(book.journal.last_published), book.last_seq)
    for job in book.jobs.values():
        copy = Job.of(job.row())
        copy.take([Sheet.of(sheet.row(job.seq)) for sheet in job.sheets.values()])
        if copy.state not in JOB_ENDED:
            again.add(copy)
    for attempt in book.running.values():
        again.run(Attempt.of({**attempt.row("running"), "job": attempt.job}))
    return again
