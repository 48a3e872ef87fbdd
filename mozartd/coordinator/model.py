"""What a job, a sheet and an attempt are, in memory; and their rows.

Plain data. Only `book` changes a state; only `turn` writes a row. What scheduling and retrying need of a score is its
`Policy`, kept with the job so that the score itself stays in the store until a sheet of it is assigned.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from ipc.messages import LastAttempt, attempt_id
from ipc.states import JOB_ENDED
from ipc.states import Job as JobState
from ipc.states import Sheet as SheetState


@dataclass(slots=True, frozen=True)
class Choice:
    """Something that a sheet may run on."""

    scope: str
    max_wait: float = 0.0
    """Seconds that the choice before it may be held before this one is taken; inf: it is not taken for that."""
    resumes: bool = True
    """Whether its sessions are continued."""
    on_failure: int = 0
    """Which choice the sheet goes to when an attempt on this one fails; 0: it stays."""

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Choice:
        # JSON knows no infinity.
        return cls(**{**kept, "max_wait": math.inf if kept["max_wait"] is None else kept["max_wait"]})


@dataclass(slots=True, frozen=True)
class Policy:
    """A score's flow control. Seconds, counts, percent."""

    max_concurrent: int = 1
    fail_fast: bool = True
    pause_seconds: float = 0.0
    full_attempts: int = 1
    base_delay: float = 10.0
    max_delay: float = 3600.0
    exponential_base: float = 2.0
    jitter: bool = True
    max_completions: int = 3
    completion_delay: float = 5.0
    completion_threshold: float = 50.0
    limit_wait: float = 3600.0
    max_waits: int = 24
    breaker: bool = True
    breaker_threshold: int = 5
    breaker_recovery: float = 300.0
    max_quota_waits: int = 48
    max_cost_sheet: float | None = None
    max_cost_job: float | None = None
    cost_per_1k_input: float | None = None
    cost_per_1k_output: float | None = None
    warn_at_percent: float = 80.0
    on_reached: str = "finish"
    """`stop` or `finish`: what becomes of the agents that run when a cost limit is reached."""
    skip_when: dict[int, str] = field(default_factory=dict)
    choices: dict[int, list[Choice]] = field(default_factory=dict)
    """What sheets may run on, the first preferred; 0 stands for all without an entry. Empty: one choice, `auto`."""
    workspace_lock: str = ""
    """`warn`, `wait`, `refuse` or `share`; '': as the settings have it."""
    real_workspace: str = ""
    """Without links."""

    def choices_of(self, n: int) -> list[Choice]:
        return self.choices.get(n) or self.choices.get(0, [])

    def resumes(self, n: int, choice: int) -> bool:
        choices = self.choices_of(n)
        return choices[choice].resumes if choices else True


@dataclass(slots=True)
class History:
    """What a sheet has spent since it was submitted or retried by hand, and how its next attempt goes on."""

    attempts: int = 0
    completions: int = 0
    waits: int = 0
    interruptions: int = 0
    mode: str = "normal"
    session_id: str | None = None
    """Of the agent's session that the next attempt may continue."""
    used: dict[str, int] = field(default_factory=dict)
    """Tokens of that session."""
    choice: int = 0
    """Which of the policy's choices it runs on."""
    first: int = 0
    """The first of them that comes into question."""
    passed_over: str = ""
    """Why those before it do not, when that is because of something that happened."""
    route: int = 0
    """The first that is strong enough for its prompt."""
    complexity: str = ""
    """What was found out about that."""

    said: float = 0.0
    """Until when the limit lasts for which it waits, as words have it that need not be true."""
    no_room: int = 0
    """Attempts in a row for which the machine had no room."""
    held: list[int] | None = None
    """Rules that are no proof of work: they held before the first attempt, or nobody can tell. None: nobody has looked."""

    stopping: str = ""
    """`cancel`, `retry` (run again from the beginning) or `pause`: its running attempt is to be stopped. Told again when its
    worker says hello."""

    def anew(self) -> History:
        """Of the same sheet, when nothing has been spent."""
        return History(choice=self.route, first=self.route, route=self.route, complexity=self.complexity)


@dataclass(slots=True)
class Sheet:
    n: int
    stage: int
    instance: int
    fan_count: int
    start_item: int
    end_item: int
    dependencies: tuple[int, ...]
    scope: str
    """Whose limits it shares: `backend/account/model`."""
    state: SheetState = SheetState.PENDING
    reason: str = ""
    until: float | None = None
    k: int = 0
    history: History = field(default_factory=History)
    last: LastAttempt | None = None
    cost_usd: float | None = None
    missing: int = 0
    """Prerequisites that are not satisfied yet. Derived."""
    output: str = ""
    """The tail of what its last attempt printed; kept only where the job's skip_when may ask for it. Derived."""

    def row(self, seq: int) -> dict[str, Any]:
        return {
            "seq": seq, "n": self.n, "stage": self.stage, "instance": self.instance, "fan_count": self.fan_count,
            "start_item": self.start_item, "end_item": self.end_item, "dependencies": _json(self.dependencies),
            "scope": self.scope, "state": self.state.value, "reason": self.reason, "until": self.until, "k": self.k,
            "history": _json(self.history), "last": _json(self.last), "cost_usd": self.cost_usd,
        }  # fmt: skip

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Sheet:
        return cls(
            row["n"], row["stage"], row["instance"], row["fan_count"], row["start_item"], row["end_item"],
            tuple(orjson.loads(row["dependencies"])), row["scope"], SheetState(row["state"]), row["reason"], row["until"],
            row["k"], History(**orjson.loads(row["history"])), orjson.loads(row["last"]), row["cost_usd"],
        )  # fmt: skip


@dataclass(slots=True)
class Job:
    seq: int
    id: str
    name: str
    score_path: str
    workspace: str
    priority: int
    group: str
    submitted_at: float
    policy: Policy
    state: JobState = JobState.QUEUED
    reason: str = ""
    wanted: str = ""
    """How it is to end when nothing of it runs any more: `cancel`, or `fail` (fail_fast). Nothing of it starts."""
    started_at: float | None = None
    ended_at: float | None = None
    not_before: float = 0.0
    after: str = ""
    """The job that must have completed before this one begins."""
    place: float = 0.0
    """Among the jobs that have not begun, said by a person: the smaller goes first. Then priority, then number."""
    cost_usd: float | None = None
    tokens: dict[str, int] = field(default_factory=dict)
    """By kind; empty while no attempt has reported any: unknown."""
    counts: Counter[str] = field(default_factory=Counter)
    """Sheets by state."""
    ran_seconds: float = 0.0
    """In which something of it ran, until nothing did."""
    ran_since: float | None = None
    """Since when something runs."""
    sheets: dict[int, Sheet] = field(default_factory=dict)
    dependents: dict[int, list[int]] = field(default_factory=dict)
    ready: dict[str, list[int]] = field(default_factory=dict)
    """Scope → pending sheets whose prerequisites are satisfied, in number order; no empty lists. Derived."""
    running: set[int] = field(default_factory=set)
    troubled: set[int] = field(default_factory=set)
    """Sheets that have spent an attempt and are not complete: what the others' prompts may learn from. Derived."""
    failed: dict[int, None] = field(default_factory=dict)
    cancelled: dict[int, None] = field(default_factory=dict)
    """Sheets in these states, in the order in which they came to them. Derived."""
    passed: float = 0.0
    """Its turn in the fair share: rises with each start by 1/weight. Derived."""
    is_waiting: bool = field(default=False, compare=False)
    """It could start something, when it was last placed on the board. Derived."""
    stamp: int = 0
    """Of its newest entries on the board. Derived."""
    is_busy: int = field(default=0, compare=False)
    """Requests that change its sheets one after the other: nothing starts and it does not end meanwhile. Derived."""
    is_saved: bool = field(default=False, compare=False)
    """Its end or pause, and all that led to it, is on disk. Derived."""

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(self.counts.items()) if count)
        return f"<Job {self.id} {self.state}: {counts}>"

    @property
    def real_workspace(self) -> str:
        # One that an earlier version took does not say.
        return self.policy.real_workspace or self.workspace

    @property
    def has_workspace(self) -> bool:
        """It has begun, and has not ended: what it made there is still wanted."""
        return self.state is JobState.RUNNING or (self.state is JobState.PAUSED and self.started_at is not None)

    @property
    def is_settled(self) -> bool:
        """Nothing more happens to it by itself."""
        return self.state in JOB_ENDED or self.state is JobState.PAUSED

    @property
    def is_over(self) -> bool:
        """Nothing more happens to it by itself, nothing of it runs, and a restart would not change that: it may be told."""
        return self.is_settled and self.is_saved and not self.running

    @property
    def total_sheets(self) -> int:
        return sum(self.counts.values())

    def has_room(self, more: int = 0) -> bool:
        """Whether another sheet may run beside those that run and `more`."""
        return len(self.running) + more < self.policy.max_concurrent

    def add_ready(self, sheet: Sheet) -> None:
        insort(self.ready.setdefault(sheet.scope, []), sheet.n)

    def drop_ready(self, sheet: Sheet) -> None:
        numbers = self.ready[sheet.scope]
        del numbers[bisect_left(numbers, sheet.n)]
        if not numbers:
            del self.ready[sheet.scope]

    def mark_trouble(self, sheet: Sheet) -> None:
        if sheet.history.attempts and sheet.state is not SheetState.COMPLETED:
            self.troubled.add(sheet.n)
        else:
            self.troubled.discard(sheet.n)

    def count(self, *states: SheetState) -> int:
        return sum(self.counts[state.value] for state in states)

    def row(self) -> dict[str, Any]:
        return {
            "seq": self.seq, "id": self.id, "name": self.name, "state": self.state.value, "reason": self.reason,
            "wanted": self.wanted, "score_path": self.score_path, "workspace": self.workspace, "priority": self.priority,
            "group_name": self.group, "submitted_at": self.submitted_at, "started_at": self.started_at,
            "ended_at": self.ended_at, "not_before": self.not_before, "after_job": self.after, "place": self.place,
            "counts": _json(+self.counts),
            "cost_usd": self.cost_usd, "tokens": _json(self.tokens),
            "policy": orjson.dumps(self.policy, option=orjson.OPT_NON_STR_KEYS).decode(),
            "ran_seconds": self.ran_seconds, "ran_since": self.ran_since,
        }  # fmt: skip

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Job:
        policy = orjson.loads(row["policy"])
        policy["skip_when"] = {int(n): text for n, text in policy["skip_when"].items()}
        choices = policy.get("choices", {}).items()
        policy["choices"] = {int(n): [Choice.of(kept) for kept in each] for n, each in choices}
        job = cls(
            row["seq"], row["id"], row["name"], row["score_path"], row["workspace"], row["priority"], row["group_name"],
            row["submitted_at"], Policy(**policy), JobState(row["state"]), row["reason"], row["wanted"],
            row["started_at"], row["ended_at"], row["not_before"], row["after_job"], row["place"], row["cost_usd"],
            orjson.loads(row["tokens"]), Counter(orjson.loads(row["counts"])), row["ran_seconds"], row["ran_since"],
        )  # fmt: skip
        job.is_saved = True
        return job

    def take(self, sheets: Iterable[Sheet]) -> None:
        """Hold these sheets and derive what follows from them."""
        self.sheets = {sheet.n: sheet for sheet in sheets}
        self.dependents, self.ready, self.troubled = {}, {}, set()
        self.counts = Counter(sheet.state.value for sheet in self.sheets.values())
        for sheet in self.sheets.values():
            for n in sheet.dependencies:
                self.dependents.setdefault(n, []).append(sheet.n)
        for sheet in self.sheets.values():
            satisfied = ("completed", "skipped")
            sheet.missing = sum(self.sheets[n].state.value not in satisfied for n in sheet.dependencies)
        for sheet in self.sheets.values():
            self.mark_trouble(sheet)
            if sheet.state is SheetState.PENDING and not sheet.missing:
                self.add_ready(sheet)
        self.running = {n for n, sheet in self.sheets.items() if sheet.state is SheetState.RUNNING}
        self.failed = {n: None for n, sheet in self.sheets.items() if sheet.state is SheetState.FAILED}
        self.cancelled = {n: None for n, sheet in self.sheets.items() if sheet.state is SheetState.CANCELLED}

    def adopt(self, version: Job) -> None:
        """Hold the sheets of another version of it, and what was derived there."""
        for name in _HELD:
            setattr(self, name, getattr(version, name))


#: What `take` makes of sheets.
_HELD = ("sheets", "dependents", "ready", "troubled", "counts", "running", "failed", "cancelled")


def weight(priority: int) -> float:
    """−100..100 → 1/32..32: ten points more is √2 times the share."""
    return float(2.0 ** (priority / 20.0))


@dataclass(slots=True)
class Attempt:
    """One that runs now. `facts` is what its row tells beyond the columns."""

    seq: int
    job: str
    n: int
    k: int
    mode: str
    worker: str
    assigned_at: float
    facts: dict[str, Any] = field(default_factory=dict)
    scope: str = ""
    """Whose limits it shares. Its sheet may get another one while it runs, by a new score."""
    ordinal: int = 0
    """Of its call on the scope's throttle. Derived."""
    is_sent: bool = field(default=False, compare=False)
    """Its worker has its assignment, or had it from an earlier coordinator. Derived."""
    cost_usd: float = 0.0
    """What it has cost so far, as far as that is known while it runs. Derived."""
    size: int = 0
    """Bytes in its log, as the worker last said. Derived."""
    innocent: bool = False
    """Its worker died, of something else. Derived."""

    @property
    def id(self) -> str:
        return attempt_id(self.job, self.n, self.k)

    def row(self, state: str) -> dict[str, Any]:
        return {
            "seq": self.seq, "n": self.n, "k": self.k, "state": state, "mode": self.mode, "worker": self.worker,
            "assigned_at": self.assigned_at, "facts": _json({**self.facts, "scope": self.scope}),
        }  # fmt: skip

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Attempt:
        facts = orjson.loads(row["facts"])
        # Whether its worker has it is for the worker to say.
        return cls(row["seq"], row["job"], row["n"], row["k"], row["mode"], row["worker"], row["assigned_at"], facts,
                   facts.pop("scope", ""), is_sent=True)  # fmt: skip


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
