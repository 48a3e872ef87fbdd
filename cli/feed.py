"""What a subscription sends, to its end, over as many connections as it takes.

When the daemon goes away, `Feed` finds its successor and goes on where it was: after the last chunk of each attempt and
the last event that it gave. So nothing is lost and nothing comes twice. Used by `logs`, `events` and `run`.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from typing import Any

from cli import output
from ipc.client import Client, Disconnected
from ipc.line import Line, Patience

#: Seconds for which a connection was quiet when what lost it is another matter than what lost the one before.
QUIET = 30.0
ENDS = {"logs.follow": "logs.end", "events.follow": "events.end"}

Notification = tuple[str, dict[str, Any]]


class Feed:
    """The notifications of some subscriptions until each has ended. Iterate, or ask `next` with a time limit."""

    def __init__(self, line: Line, requests: dict[str, dict[str, Any]]) -> None:
        """`requests`: method → params, of one or both of the subscriptions."""
        self._line = line
        self._requests = {method: dict(params) for method, params in requests.items()}
        self._told = False
        self._patience: Patience | None = None
        """Since it was first lost, while nothing came."""
        self._lost_at = -QUIET
        self.job = ""
        """The job's id, as the daemon resolved it."""
        self.begins: dict[str, dict[str, int]] = {}
        """Where of each attempt's streams the last lines begin, when only those were asked for."""
        self.left_out = False
        """There are older events than those that were asked for."""
        line.over(self._subscribe)

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def __iter__(self) -> Iterator[Notification]:
        while self._requests:
            found = self.next()
            if found is not None:
                yield found

    def fileno(self) -> int:
        return self._line.client.fileno()

    @property
    def ended(self) -> bool:
        return not self._requests

    def next(self, timeout: float | None = None) -> Notification | None:
        """The next notification, or None when none came in time."""
        while True:
            client = self._line.client
            if timeout is not None and not client.has_frames() and not select.select([client], [], [], timeout)[0]:
                return None
            try:
                method, params = next(client.notifications())
            except Disconnected as lost:
                self._reconnect(lost)
                continue
            self._patience = None
            self._remember(method, params)
            return method, params

    def has_more(self) -> bool:
        """Whether the next notification is here already."""
        return self._line.client.has_frames()

    def _subscribe(self, client: Client) -> None:
        for method, params in self._requests.items():
            answer = client.request(method, params)
            if answer.get("job"):
                # A score's name could mean a newer job when we come back.
                self.job = params["job"] = answer["job"]
            if "begins" in answer:
                # Fixed by now: when we come back, more may have been written, or attempts have begun.
                self.begins = answer["begins"]
                params |= {
                    "tail": None,
                    "stream": "",
                    "cursors": {key: min(at.values()) for key, at in self.begins.items()},
                }
            if "since" in answer:
                params["since"] = answer["since"]
                self.left_out = bool(answer.get("more"))
                # That is where it begins, also when we come back.
                params.pop("at", None)
                params.pop("tail", None)
        client.set_timeout(None)

    def _reconnect(self, lost: Disconnected) -> None:
        """Not again and again to a daemon that takes everybody and tells nobody anything."""
        now = time.monotonic()
        if self._patience is None or now - self._lost_at > QUIET:
            self._patience = Patience()
        self._lost_at = now
        self._patience.wait(lost)
        if not self._told:
            output.tell("mozart: lost the daemon; reconnecting…")
            self._told = True
        while True:
            self._line.find_again()
            try:
                return self._subscribe(self._line.client)
            except Disconnected as again:
                self._patience.wait(again)

    def _remember(self, method: str, params: dict[str, Any]) -> None:
        if method in ("logs.chunk", "logs.gone"):
            cursors = self._requests["logs.follow"].setdefault("cursors", {})
            cursors[f"{params['sheet']}.{params['attempt']}"] = params["end"]
        elif method == "events.event":
            self._requests["events.follow"]["since"] = params["id"]
        else:
            self._requests = {name: asked for name, asked in self._requests.items() if ENDS[name] != method}
