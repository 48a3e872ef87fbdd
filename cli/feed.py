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
from cli.daemon import connect
from ipc.client import Client, Disconnected
from ipc.errors import EXIT_UNREACHABLE, MozartError

#: How long to look for a daemon that went away. A coordinator is back within a second; a whole daemon that systemd
#: restarts, within a few.
PATIENCE = 20.0
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0

ENDS = {"logs.follow": "logs.end", "events.follow": "events.end"}

Notification = tuple[str, dict[str, Any]]


def reconnect(patience: float = PATIENCE) -> Client:
    """A new connection. Waits in connect() while the supervisor holds the socket; tries again while nobody does."""
    deadline = time.monotonic() + patience
    pause = FIRST_PAUSE
    while True:
        try:
            return connect()
        except MozartError as error:
            if error.exit_code != EXIT_UNREACHABLE or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


class Feed:
    """The notifications of some subscriptions until each has ended. Iterate, or ask `next` with a time limit."""

    def __init__(self, client: Client, requests: dict[str, dict[str, Any]]) -> None:
        """`requests`: method → params, of one or both of the subscriptions."""
        self._client = client
        self._requests = {method: dict(params) for method, params in requests.items()}
        self._told = False
        self.job = ""
        """The job's id, as the daemon resolved it."""
        self._subscribe()

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def __iter__(self) -> Iterator[Notification]:
        while self._requests:
            found = self.next()
            if found is not None:
                yield found

    @property
    def ended(self) -> bool:
        return not self._requests

    def next(self, timeout: float | None = None) -> Notification | None:
        """The next notification, or None when none came in time."""
        while True:
            if (
                timeout is not None
                and not self._client.has_frames()
                and not select.select([self._client], [], [], timeout)[0]
            ):
                return None
            try:
                method, params = next(self._client.notifications())
            except Disconnected:
                self._reconnect()
                continue
            self._remember(method, params)
            return method, params

    def has_more(self) -> bool:
        """Whether the next notification is here already."""
        return self._client.has_frames()

    def _subscribe(self) -> None:
        for method, params in self._requests.items():
            answer = self._client.request(method, params)
            if answer.get("job"):
                # A score's name could mean a newer job when we come back.
                self.job = params["job"] = answer["job"]
            if "since" in answer:
                params["since"] = answer["since"]
        self._client.set_timeout(None)

    def _reconnect(self) -> None:
        self._client.close()
        if not self._told:
            output.tell("mozart: lost the daemon; reconnecting…")
            self._told = True
        while True:
            self._client = reconnect()
            try:
                return self._subscribe()
            except Disconnected:
                self._client.close()

    def _remember(self, method: str, params: dict[str, Any]) -> None:
        if method in ("logs.chunk", "logs.gone"):
            cursors = self._requests["logs.follow"].setdefault("cursors", {})
            cursors[f"{params['sheet']}.{params['attempt']}"] = params["end"]
        elif method == "events.event":
            self._requests["events.follow"]["since"] = params["id"]
        else:
            self._requests = {name: asked for name, asked in self._requests.items() if ENDS[name] != method}
