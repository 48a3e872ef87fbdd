"""When an attempt has waited long enough, and for what: pure, time is an argument.

Three clocks: the whole time allowed; silence (before the first byte, and between two); a result seen but no exit.
Output does not move a timer: the timer fires at the earliest moment at which anything could be due, and asks again.
Called by `agent`.
"""

from __future__ import annotations

from dataclasses import dataclass

NO_OUTPUT, STALLED, TIMEOUT, POST_RESULT = "no_output", "stalled", "timeout", "post_result"


@dataclass(slots=True)
class Clocks:
    """Seconds; `started` and the answers are readings of the loop's clock."""

    started: float
    timeout: float
    idle: float | None
    post_result: float
    result_at: float | None = None

    def next(self, last_output: float | None) -> tuple[float, str]:
        """The nearest deadline and what passing it would mean. `last_output` None: nothing came yet."""
        candidates = [(self.started + self.timeout, TIMEOUT)]
        if self.result_at is not None:
            candidates.append((self.result_at + self.post_result, POST_RESULT))
        elif self.idle is not None:
            # A finished agent is quiet by right: silence counts only until the result.
            silent_since, meaning = (self.started, NO_OUTPUT) if last_output is None else (last_output, STALLED)
            candidates.append((silent_since + self.idle, meaning))
        return min(candidates)
