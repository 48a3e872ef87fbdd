"""What is said on the two sockets, word for word.

Client ↔ coordinator: JSON-RPC 2.0; the requests and notifications are listed in METHODS and NOTIFICATIONS, their results in
`docs` of each handler (`mozartd/coordinator/requests/`). Worker ↔ coordinator: frames with a `type`, the TypedDicts below.
Times are seconds since the epoch (float), sizes bytes, money US dollars; an attempt's id is `<job>:<sheet>:<k>`.
Everybody's first frame is a Hello.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Hello(TypedDict):
    """First frame each way. A worker's also says what it still runs and what it could not yet report."""

    type: Literal["hello"]
    protocol: int
    version: str
    role: Literal["client", "worker", "coordinator"]
    pid: int
    worker: NotRequired[str]
    """The worker's name: `<boot>-<number>-<incarnation>`, unique in the state directory."""
    restarts: NotRequired[int]
    slots: NotRequired[int]
    """Attempts this worker holds at once, at most. Its credit is slots minus running."""
    submit_env: NotRequired[list[str]]
    """From a coordinator to a client: the names of the submitter's variables that jobs keep; one may end in *."""
    compares_environment: NotRequired[bool]
    """Of a coordinator: `submit` may describe the submitter's variables (`known`), to hear which of them are others here."""
    attempt: NotRequired[str]
    """Of a client that an agent started: its MOZART_ATTEMPT_ID, and with it in `state` the MOZART_STATE that this is of."""
    state: NotRequired[str]
    running: NotRequired[list[Running]]
    """Attempts whose agents this worker runs now."""
    unacknowledged: NotRequired[list[str]]
    """Attempts it has finished and reported without an `ack`: their `finished` follow."""


class Running(TypedDict):
    attempt: str
    agent_pid: int
    bytes: int
    lines: int


# ---- coordinator → worker -------------------------------------------------------------------------------------------


class Assign(TypedDict):
    """A complete assignment: the worker asks nothing back. Sent after the attempt's row is committed."""

    type: Literal["assign"]
    attempt: str
    job: str
    sheet: int
    k: int
    mode: Literal["normal", "completion", "resume"]
    log: str
    """Its first segment; `ipc.segments` names the others."""
    log_segment_bytes: NotRequired[int]
    """How long a segment becomes before the next one begins."""
    prompt_file: str
    """Where the prompt actually sent is kept."""
    score_dir: str
    workspace: str
    environment: dict[str, str]
    """The submitter's variables named by the setting `submit_env`."""
    backend: dict[str, Any]
    """The sheet's backend section, normalised, overrides applied (`ipc.score.schema.Backend`)."""
    timeout_seconds: float
    idle_seconds: float | None
    prompt: dict[str, Any]
    """The prompt section (`ipc.score.schema.Prompt`)."""
    variables: dict[str, Any]
    """The built-in template variables of this sheet; `prompt.variables` are laid over them by the worker."""
    validations: list[dict[str, Any]]
    """Every rule of the score, in order; the worker picks the applicable ones."""
    skip_command: dict[str, Any] | None
    capture: dict[str, Any] | None
    """`cross_sheet` when the score has it: which files to collect after success."""
    last: LastAttempt | None
    """The sheet's attempt before this one, for completion and retry prompts."""
    held: NotRequired[list[int] | None]
    """Indices of the rules that held before the sheet's first attempt, or of which nobody can tell; null: look now."""
    lessons: list[str]
    """Sentences about what failed in this job's other sheets."""
    session_id: str | None
    """The agent's session to continue (mode resume or completion)."""
    session_used: NotRequired[dict[str, int]]
    """Tokens that session had used before, by kind."""
    first_byte_seconds: NotRequired[float | None]
    """How long the agent may print nothing at all; null: as its backend knows it."""
    watched: bool
    """Somebody follows this attempt's log: send `grew`."""


class LastAttempt(TypedDict):
    verdict: str
    code: str
    message: str
    validations: list[Validation]


class Cancel(TypedDict):
    """Stop the agent: TERM or INT as the backend says, grace, KILL. Answered by `finished` with verdict `cancelled`."""

    type: Literal["cancel"]
    attempt: str
    reason: str


class Cap(TypedDict):
    """Stop the agent, because its job has cost what it may. Its rules are judged, as after an end of its own."""

    type: Literal["cap"]
    attempt: str
    reason: str


class Watch(TypedDict):
    """Send `grew` for this attempt from now on (or not any more)."""

    type: Literal["watch", "unwatch"]
    attempt: str


class Ack(TypedDict):
    """The attempt's `finished` is committed: forget it."""

    type: Literal["ack"]
    attempt: str


class Drain(TypedDict):
    """Finish what runs, take nothing new, then exit 0."""

    type: Literal["drain"]


# ---- worker → coordinator -------------------------------------------------------------------------------------------


class Started(TypedDict):
    """The agent is running."""

    type: Literal["started"]
    attempt: str
    agent_pid: int
    at: float
    held: NotRequired[list[int]]
    """As in the assignment, or as it was found out just before."""


class Grew(TypedDict):
    """The log holds `size` bytes now. Coalesced; only while watched."""

    type: Literal["grew"]
    attempt: str
    size: int


class Segment(TypedDict):
    """A new segment of the log begins at this offset: nothing is appended any more to those before."""

    type: Literal["segment"]
    attempt: str
    start: int


class Draining(TypedDict):
    """The worker was told to stop: assign it nothing more."""

    type: Literal["draining"]


class Progress(TypedDict):
    """Totals of a running attempt, at most once a second and only when they changed."""

    type: Literal["progress"]
    attempt: str
    bytes: int
    lines: int


class Noted(TypedDict):
    """What a backend saw in a line, while the agent runs. `event` is a `backends.base` event: `kind` is `session`,
    `limited` or `usage`, then its fields (the limit's own kind as `limit_kind`, a usage's model as `model`)."""

    type: Literal["noted"]
    attempt: str
    at: float
    event: dict[str, Any]


class Validation(TypedDict):
    index: int
    """Of the rule in the score, from 0."""
    type: str
    stage: int
    description: str
    passed: bool
    detail: str
    code: str
    """E2xx when it did not pass, else empty."""
    held: NotRequired[bool | None]
    """Whether it held before the sheet's first attempt; null: nobody looked."""


class Tokens(TypedDict):
    input: int
    output: int
    cache_read: int
    cache_write: int


class Limit(TypedDict):
    """A rate limit or quota. `until` when the reset time is known, else `retry_after` seconds, else both null."""

    until: float | None
    retry_after: float | None
    kind: str
    """`requests`, `quota`, `overloaded`, or the vendor's word (`five_hour`)."""
    guess: NotRequired[bool]
    """Concluded from words alone, which anybody may print."""


class Finished(TypedDict):
    """The attempt ended and its validations ran. Kept by the worker and resent until acknowledged."""

    type: Literal["finished"]
    attempt: str
    verdict: str
    """ok, incomplete, rate_limited, auth, overloaded, timeout, stalled, crashed, cancelled, refused, skipped, failed,
    missing, truncated, capped, no_session (the session to continue is gone), interrupted (the daemon stopped it: it runs
    again and spends no retry)."""
    code: str
    message: str
    hint: str
    evidence: str
    """The line or event that shows it, at most 2 KiB."""
    exit_code: int | None
    signal: int | None
    stopped_by: NotRequired[str | None]
    """Why Mozart stopped the agent, as in `backends.base.Ending`."""
    started_at: float | None
    """When the agent was started; null when it never was."""
    ended_at: float
    bytes: int
    lines: int
    log_bytes: NotRequired[int]
    """Where its log ends. A worker of before does not say."""
    tail: str
    """The last `max_output_capture_bytes` of its answer where its backend knows that, else of what it printed, as text."""
    cost_usd: float | None
    tokens: Tokens | None
    session_id: str | None
    model: str | None
    limit: Limit | None
    validations: list[Validation]
    """The applicable rules that ran, in order. Empty when none applies or the process did not end by itself."""
    applicable: int
    """How many rules apply to this sheet."""
    captured: dict[str, str]
    """cross_sheet.capture_files: path → text."""
    survivors: int
    """Processes of the attempt that outlived KILL."""
    innocent: NotRequired[bool]
    """Said by the coordinator in place of a dead worker: something else killed that."""


WorkerFrame = Started | Grew | Segment | Draining | Progress | Noted | Finished
CoordinatorFrame = Assign | Cancel | Cap | Watch | Ack | Drain


# ---- client ↔ coordinator: JSON-RPC ---------------------------------------------------------------------------------

#: Requests a client may make. One file each in `mozartd/coordinator/requests/`. Those in `ipc.line.KEYED` also take a `key`: a
#: text of the client's own, by which the request is done once however often it is asked, and answered the same.
METHODS = (
    "submit",  # {score, path, source, environment, known?, fresh, start_sheet?, at?, after?, group?}
    # → {job, environment?, warnings?}
    "status",  # {job?, after?} → {daemon, jobs} or {job, sheets, next}
    "list",  # {states, all, limit, before?} → {jobs, total, next}
    "logs.follow",  # {job, sheet?, attempt?, follow, tail?, stream?, cursors?} → {job, subscription, begins?}, notifications
    "events.follow",  # {job?, since?, at?, tail?, follow} → {job?, subscription, since, more}, then notifications
    "prompt",  # {job, sheet?, attempt?} → {job, sheet, attempt, text}
    "wait",  # {jobs, any, timeout?} → {jobs}, when they have ended
    "cancel",  # {job, sheets?} → {job, sheets}
    "retry",  # {job, sheets?, from?} → {job, sheets}
    "pause",  # {job, now} → {job, sheets}
    "resume",  # {job} → {job, sheets}
    "priority",  # {job, priority} → {job, sheets}
    "reorder",  # {job, before?, behind?} → {job, queue}
    "modify",  # {job, score, path, source, environment} → {job, sheets, changed}
    "limits",  # {} → {holds}
    "limits.clear",  # {scope} → {holds}
    "hold",  # {scope, seconds?, reason?} → {holds}
    "group.set",  # {name, parallel?} → {groups}
    "group.list",  # {} → {groups}
    "gc",  # {dry_run} → {dry_run, log_bytes, actions}: what is removed and compressed by the settings
    "daemon.status",  # {} → as `mozartd status --json`
    "daemon.environment",  # {} → {variables: [{name, from}], submit_env}: what agents get, without its values
    "daemon.drain",  # {} → {state}; nothing new starts, and when nothing runs everything stops
)

#: Notifications that follow a subscription until its `*.end`.
NOTIFICATIONS = (
    "logs.chunk",  # {subscription, job, sheet, attempt, offset, end, backend, text | base64}: whole CRI records
    "logs.gone",  # {subscription, job, sheet, attempt, offset, end, why}: what was asked for, and why it is not there
    "logs.end",  # {subscription, job, state, reason, exit_code}
    "events.event",  # {subscription, id, time, type, job?, sheet?, attempt?, data}
    "events.end",  # {subscription, job, state, reason, exit_code}
)


class Gone(TypedDict):
    """Params of `logs.gone`: the bytes [offset, end) of one attempt's log, which the follower would have got next."""

    subscription: int
    job: str
    sheet: int
    attempt: int
    offset: int
    end: int
    why: str
    lost: NotRequired[bool]
    """It should be there: nobody who may has removed it."""


class Chunk(TypedDict):
    """Params of `logs.chunk`: the bytes [offset, end) of one attempt's log, cut at record ends."""

    subscription: int
    job: str
    sheet: int
    attempt: int
    offset: int
    end: int
    backend: str
    """Which renderer shows it."""
    profile: NotRequired[dict[str, Any]]
    """Of a backend that is a profile of the user's: its renderer is made of it."""
    text: NotRequired[str]
    base64: NotRequired[str]
    """Instead of text when the bytes are not UTF-8."""


def attempt_id(job: str, sheet: int, k: int) -> str:
    return f"{job}:{sheet}:{k}"
