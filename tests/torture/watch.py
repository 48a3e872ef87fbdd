"""Followers that lose the daemon again and again and must see every byte exactly once.

A `Watcher` is a thread that follows one job after another; a `Diary` one that reads every event. Each keeps what it saw
and what was wrong with it.
"""

from __future__ import annotations

import base64
import queue
import random
import threading
from collections import defaultdict
from typing import Any

from ipc.client import Client
from ipc.errors import MozartError
from tests.process.daemon import Daemon

#: Seconds between two tries to reach a daemon that is away, and after which silence is looked into.
AWAY, SILENCE = 0.05, 5.0


class Watcher(threading.Thread):
    """`seen[job][(sheet, attempt)]` is what it was sent; `ended` the jobs it followed to their end."""

    def __init__(self, daemon: Daemon, dice: random.Random, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._daemon, self._dice, self._stop_ = daemon, dice, stop
        self.jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.seen: dict[str, dict[tuple[int, int], bytearray]] = {}
        self.ended: dict[str, str] = {}
        self.wrong: list[str] = []
        self.current = ""

    def run(self) -> None:
        while not self._stop_.is_set():
            try:
                job = self.jobs.get(timeout=AWAY)
            except queue.Empty:
                continue
            self.current = job
            self.seen[job] = defaultdict(bytearray)
            while job not in self.ended and not self._stop_.is_set():
                try:
                    self._follow(job)
                except MozartError as error:
                    if not error.code.startswith("E50"):
                        self.wrong.append(f"following {job}: {error.code} {error.message}")
                        break
                    self._stop_.wait(AWAY)
            self.current = ""

    def _follow(self, job: str) -> None:
        seen = self.seen[job]
        with Client(self._daemon.socket, SILENCE) as client:
            cursors = {f"{n}.{k}": len(data) for (n, k), data in seen.items()}
            client.request("logs.follow", {"job": job, "follow": True, "cursors": cursors})
            for method, params in client.notifications():
                if method == "logs.end":
                    if params["state"] == "paused":
                        self._stop_.wait(AWAY)  # somebody resumes it: there is more to come
                    else:
                        self.ended[job] = params["state"]
                    return
                self._take(job, params)

    def _take(self, job: str, chunk: dict[str, Any]) -> None:
        seen = self.seen[job][chunk["sheet"], chunk["attempt"]]
        data = chunk["text"].encode() if "text" in chunk else base64.b64decode(chunk["base64"])
        where = f"{job} sheet {chunk['sheet']}.{chunk['attempt']}"
        if chunk["offset"] != len(seen):
            self.wrong.append(f"{where}: a chunk from {chunk['offset']}, expected {len(seen)}")
        if chunk["end"] - chunk["offset"] != len(data):
            self.wrong.append(f"{where}: a chunk of {len(data)} bytes says [{chunk['offset']}, {chunk['end']})")
        seen += data


class Diary(threading.Thread):
    """Every event of the daemon, in order, each once."""

    def __init__(self, daemon: Daemon, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._daemon, self._stop_ = daemon, stop
        self.events: list[dict[str, Any]] = []
        self.wrong: list[str] = []

    @property
    def last(self) -> int:
        return int(self.events[-1]["id"]) if self.events else 0

    def run(self) -> None:
        while not self._stop_.is_set():
            try:
                self._read()
            except MozartError as error:
                if not error.code.startswith("E50"):
                    self.wrong.append(f"events: {error.code} {error.message}")
                    return
                self._stop_.wait(AWAY)

    def _read(self) -> None:
        with Client(self._daemon.socket, SILENCE) as client:
            client.request("events.follow", {"since": self.last, "follow": True})
            for _, event in client.notifications():
                if event["id"] != self.last + 1:
                    self.wrong.append(f"event {event['id']} after {self.last}")
                self.events.append(event)
