"""When an attempt has waited long enough, and for what: pure, time is an argument.

Beside the whole time allowed there are three clocks: nothing printed at all since the start; silence; a result seen but no
exit. And one for agents that say that they will try again: they sleep, when they do not.
Output does not move a timer: the timer fires at the earliest moment at which anything could be due, and asks again.
Called by `agent`.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_BYTE, NO_OUTPUT, STALLED = "first_byte", "no_output", "stalled"
TIMEOUT, POST_RESULT, LIMITED = "timeout", "post_result", "limited"


@dataclass(slots=True)
class Clocks:
    """Seconds; `started` and the answers are readings of the worker's `Awake`: while it was away nobody waited."""

    started: float
    timeout: float
    idle: float | None
    post_result: float
    result_at: float | None = None
    first_byte: float | None = None
    retry_by: float | None = None
    """When it should have tried again, and have told."""

    def next(self, last_output: float | None) -> tuple[float, str]:
        """The nearest deadline and what passing it would mean. `last_output` None: nothing came yet."""
        candidates = [(self.started + self.timeout, TIMEOUT)]
        if self.result_at is not None:
            candidates.append((self.result_at + self.post_result, POST_RESULT))
            return min(candidates)
        if self.retry_by is not None:
            candidates.append((self.retry_by, LIMITED))
        if self.first_byte is not None and last_output is None:
            candidates.append((self.started + self.first_byte, FIRST_BYTE))
        if self.idle is not None:
            # A finished agent is quiet by right: silence counts only until the result.
            silent_since, meaning = (self.started, NO_OUTPUT) if last_output is None else (last_output, STALLED)
            candidates.append((silent_since + self.idle, meaning))
        return min(candidates)
