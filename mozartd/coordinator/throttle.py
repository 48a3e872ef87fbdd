"""How much one backend scope may be used now: its hold, its window, its forecast, its breaker.

Pure state with `now` as an argument; `limits` owns one for each scope that was ever limited, and writes it down.

- **hold**: nothing starts before `until` (a rate limit, an open breaker, a person's word).
- **window**: attempts at once. After a hold one probe goes first; each success widens it, doubling up to half of what ran when
  the limit was hit and then by one a round (slow start, AIMD), until it is wide open again.
- **forecast**: calls (and tokens, where the backend tells them) that fit between two resets, and how long that is, learned
  from windows seen whole. When the calls are spent, further ones go one at a time, so that finding the limit again costs one
  call and not all that run.
- **breaker**: failures of the service in a row open it; half-open is a window of one, and its probe closes or opens it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

#: A window this wide limits nothing any more.
WIDE_OPEN = 256.0
#: Two ends of a hold closer than this are the same: a limit is told when it is seen and again when the attempt has ended.
SAME_SECONDS = 1.0


@dataclass(slots=True)
class Throttle:
    scope: str
    since: float = 0.0
    until: float = 0.0
    """Nothing starts before; infinite until somebody acts."""
    reason: str = ""
    evidence: str = ""
    kind: str = ""
    """What the hold is: `limit`, `breaker`, `budget`, `person` (one must act) or `hand` (one has spoken)."""
    due: float = 0.0
    """When the limit itself is over: before `until` where quiet hours or a veto keep it on."""
    measured: bool = False
    """`until` is so long after the limit was hit: nobody told a time of day."""
    under: list[Any] | None = None
    """(until, reason, kind) of what a longer limit lies over, and no limit shortens."""
    givers: list[str] = field(default_factory=list)
    """Jobs of whose words alone the limit was concluded; empty when a service has told it."""
    sitters: set[str] = field(default_factory=set)
    """Attempts that wait for it and will try again; empty when it was told by one that ended. Not kept over a restart: it is
    over at its time then."""
    breaker: str = ""
    """`open`, `half-open`, or closed."""
    window: float | None = None
    threshold: float = WIDE_OPEN
    opened_at: float | None = None
    """When the service's own window opened: the end of a hold."""
    limited: bool = False
    """The limit was hit in this window."""
    reset_at: float | None = None
    """When the last limit was over."""
    served: int = 0
    """Calls that the service answered since then."""
    used: int = 0
    """Tokens of those calls, as far as they are known."""
    allowance: int | None = None
    tokens: int | None = None
    """Told, not obeyed: what a call will use is not known before."""
    period: float | None = None
    took: float | None = None
    """Seconds of a call, averaged over the last ones."""
    failures: int = 0
    running: int = 0
    first: int = 0
    """Ordinals up to this one were started in an earlier window."""
    last: int = 0
    succeeded: int = 0
    beyond: float = 1.0
    beyond_running: int = 0

    def is_held(self, now: float) -> bool:
        return self.until > now

    @property
    def is_blank(self) -> bool:
        """Nothing runs there, nothing bounds it and nothing was learned: a new one would be as good, but for calls counted
        towards a first limit."""
        bounds = (self.window, self.allowance, self.period, self.reset_at)
        return not (self.running or self.until or self.breaker or self.failures) and bounds == (None,) * 4

    @property
    def started(self) -> int:
        """Calls started in this window."""
        return self.last - self.first

    def room(self, now: float) -> int | None:
        """How many more may start now; None = any number."""
        if self.is_held(now):
            return 0
        if self.allowance is not None and self.started >= self.allowance:
            return max(0, int(self.beyond) - self.beyond_running)
        left = None if self.window is None else max(0, int(self.window) - self.running)
        if self.allowance is None:
            return left
        rest = min(self.allowance - self.started, max(0, self._pace() - self.running))
        return rest if left is None else min(rest, left)

    def _pace(self) -> int:
        """As many at once as use up the allowance within the window, three times over: more would only be refused
        together when the limit comes sooner than foreseen."""
        if self.period is None or self.took is None or self.allowance is None:
            return WIDE_OPEN_ROOM
        return max(2, math.ceil(3 * self.allowance * self.took / self.period))

    # -- what happens

    def start(self) -> int:
        """A call begins. Its ordinal, for `end`."""
        self.running += 1
        self.last += 1
        self.beyond_running += self._is_beyond(self.last)
        return self.last

    def end(self, ordinal: int, ok: bool, took: float | None = None, tokens: int = 0) -> bool:
        """A call ended after `took` seconds; `ok` when the service did its part. True when that closed the breaker."""
        self.running = max(0, self.running - 1)
        beyond = self._is_beyond(ordinal)
        self.beyond_running = max(0, self.beyond_running - beyond)
        if not ok:
            return False
        self.failures = 0
        if took is not None:
            self.took = took if self.took is None else 0.8 * self.took + 0.2 * took
        self.succeeded += ordinal > self.first
        self.served += 1
        self.used += tokens
        if beyond:
            self.beyond = min(2 * self.beyond, WIDE_OPEN)
        self._widen()
        closes, self.breaker = self.breaker == "half-open", "" if self.breaker == "half-open" else self.breaker
        return closes

    def note_giver(self, job: str, now: float) -> None:
        """A limit comes from this job's words, or ('') from a service, which needs no job to go on."""
        before = self.givers if self.is_held(now) else []
        if not job:
            self.givers = []
        elif before or not (self.is_held(now) and self.kind == "limit"):
            self.givers = before if job in before else [*before, job]

    def hold(self, until: float, reason: str, evidence: str, now: float, kind: str = "limit") -> bool:
        """Nothing starts before `until`. False when that is known already, or when a longer one is for another reason."""
        if self.is_held(now):
            if self.until == until or abs(self.until - until) < SAME_SECONDS:
                return False
            # The newest word about a limit is the best; but no limit shortens what a person or a budget holds.
            if kind != "hand" and not kind == self.kind == "limit" and until < self.until:
                if self.kind == "limit":
                    self.under = [until, reason, kind]
                return False
            if kind != "limit":
                self.under = None
            elif self.kind != "limit":
                self.under = [self.until, self.reason, self.kind]
            elif self.under is not None and until < self.under[0]:
                (until, reason, kind), evidence, self.under = self.under, "", None
        else:
            self.since, self.under = now, None
            self.threshold = max(1.0, self.running / 2)
        self.until, self.reason, self.evidence, self.kind, self.due = until, reason, evidence, kind, until
        self.limited, self.measured, self.sitters = kind == "limit", False, set()
        return True

    def fail(self, threshold: int, recovery: float, now: float) -> bool:
        """The service failed. True when that opened the breaker."""
        self.failures += 1
        if self.is_held(now) or (self.failures < threshold and self.breaker != "half-open"):
            return False
        self.hold(now + recovery, f"circuit breaker: {self.failures} failures in a row", "", now, "breaker")
        self.breaker = "open"
        return True

    def release(self, now: float) -> None:
        """The hold is over: one probe, then more."""
        if self.limited and self.due < math.inf:
            self._learn(now)
        self.reset_at, self.served, self.used = now if self.limited else None, 0, 0
        self._open(self.reset_at)
        self._forget_hold()
        self.breaker = "half-open" if self.breaker else ""
        self.window = 1.0

    def _forget_hold(self) -> None:
        self.until, self.reason, self.evidence, self.kind, self.due = 0.0, "", "", "", 0.0
        self.under, self.measured, self.givers, self.sitters = None, False, [], set()

    def _learn(self, now: float) -> None:
        """So long after the last reset comes the next. Windows in which the limit was not hit may lie between the two: the
        shortest time ever seen is the service's window. Before the second reset, what was served until the first is all
        that is known; if it is too little, the calls beyond it show that soon."""
        if self.reset_at is None:
            self.allowance, self.tokens = self.served or None, self.used or None
            return
        seconds = now - self.reset_at
        if seconds <= 0:
            return  # The clock was set back: nothing is learned from that.
        self.period = max(SAME_SECONDS, min(seconds, self.period or seconds))
        windows = max(1, round(seconds / self.period))
        self.allowance, self.tokens = max(1, self.served // windows), self.used // windows or None

    def clear(self, now: float) -> None:
        """A person says that all is well: forget the hold and what was learned. A limit that is over, and was only kept on,
        ends as any other."""
        if self.limited and self.due <= now:
            self.release(now)
            return
        running, last = self.running, self.last
        for name, value in _facts(Throttle(self.scope)).items():
            setattr(self, name, value)
        self._forget_hold()
        self.running, self.first, self.last = running, last, last

    def roll(self, now: float) -> None:
        """The service's window passed without a limit: a new one begins."""
        if self.opened_at is not None and now < self.opened_at:
            self.opened_at = now  # The clock was set back.
        if self.opened_at is None or self.period is None or self.is_held(now) or now < self.opened_at + self.period:
            return
        if self.allowance is not None:
            self.allowance = max(self.allowance, self.succeeded)
        passed = (now - self.opened_at) // self.period
        self._open(self.opened_at + passed * self.period)

    def move(self, seconds: float) -> bool:
        """The clock was set by so much. Windows last as long as before, and so does the rest that a breaker gives, and a
        wait for so long as a service asked for; another hold ends at the time that the service, or a person, gave. False
        when nothing changed."""
        if self.opened_at is not None:
            self.opened_at += seconds
        if self.reset_at is not None:
            self.reset_at += seconds
        if self.until and (self.kind == "breaker" or self.measured):
            self.until += seconds
            self.due += seconds
        return bool(seconds) and (self.opened_at or self.reset_at or self.until or 0.0) != 0.0

    def next_time(self, now: float) -> float | None:
        """When time alone changes `room`."""
        if self.is_held(now):
            return self.until if self.until < math.inf else None
        if (
            self.allowance is not None
            and self.opened_at is not None
            and self.period is not None
            and self.started >= self.allowance
        ):
            return self.opened_at + self.period
        return None

    def _open(self, at: float | None) -> None:
        self.opened_at, self.limited = at, False
        self.first, self.succeeded = self.last, 0
        self.beyond, self.beyond_running = 1.0, 0

    def _is_beyond(self, ordinal: int) -> bool:
        return self.allowance is not None and ordinal - self.first > self.allowance

    def _widen(self) -> None:
        if self.window is None:
            return
        self.window += 1.0 if self.window < self.threshold else 1.0 / self.window
        if self.window >= WIDE_OPEN:
            self.window = None

    # -- kept over a restart

    def facts(self) -> dict[str, Any]:
        return _facts(self)

    def recall(self, facts: dict[str, Any]) -> None:
        for name, value in facts.items():
            if name in _KEPT:
                setattr(self, name, value)


#: Room in a window that limits nothing.
WIDE_OPEN_ROOM = 1_000_000
_KEPT = (
    "kind", "due", "under", "givers", "breaker", "failures", "window", "threshold", "opened_at", "reset_at", "served", "used",
    "limited", "allowance", "tokens", "period", "took", "succeeded", "measured",
)  # fmt: skip


def _facts(throttle: Throttle) -> dict[str, Any]:
    return {name: getattr(throttle, name) for name in _KEPT}
