"""What Prometheus scrapes: one registry, filled when it is asked for, served by the coordinator's own loop.

Counts what happened from the journal's events; states are read from the book at the time of the scrape.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from ipc import VERSION
from mozartd.coordinator.journal import Event
from mozartd.coordinator.parts import Parts

#: Bytes of a request's head, at most; seconds to send it.
MAX_HEAD, HEAD_SECONDS = 16 * 1024, 10.0


class Metrics:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._seen = parts.journal.last_published
        self.registry = CollectorRegistry()
        self._jobs = Counter("mozart_jobs_ended", "Jobs that ended, by state.", ["state"], registry=self.registry)
        self._attempts = Counter(
            "mozart_attempts", "Attempts that ended, by verdict.", ["verdict"], registry=self.registry
        )
        self._survivors = Counter(
            "mozart_survivors", "Processes that outlived their attempt's end.", registry=self.registry
        )
        self._holds = Counter("mozart_holds_set", "Holds set on a backend scope.", registry=self.registry)
        self.registry.register(_States(parts))
        parts.journal.listeners.add(self._count_new)

    def _count_new(self) -> None:
        for event in self._parts.journal.recent_since(self._seen) or ():
            self._count(event)
        # What was too many for memory is of sheets: nothing here.
        self._seen = self._parts.journal.last_published

    def _count(self, event: Event) -> None:
        if event.type == "attempt.finished":
            self._attempts.labels(event.data["verdict"]).inc()
            self._survivors.inc(event.data["survivors"])
        elif event.type in ("job.completed", "job.failed", "job.cancelled"):
            self._jobs.labels(event.type.removeprefix("job.")).inc()
        elif event.type == "hold.set":
            self._holds.inc()


class _States:
    """What is, as opposed to what happened: asked for at each scrape."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[GaugeMetricFamily]:
        parts = self._parts
        yield _gauge("mozart_build_info", "Version of the daemon.", ["version"], [((VERSION,), 1)])
        yield _gauge("mozart_sheets", "Sheets of unfinished jobs, by state.", ["state"],
                     [((state,), count) for state, count in (+parts.book.counts).items()])  # fmt: skip
        yield _gauge("mozart_unfinished_jobs", "Jobs that have not ended.", [], [((), len(parts.book.jobs))])
        yield _gauge("mozart_running_attempts", "Attempts that run now.", [], [((), len(parts.book.running))])
        yield _gauge("mozart_credit", "Attempts that workers would take now.", [], [((), parts.crew.credit)])
        yield _gauge("mozart_workers", "Workers alive.", [], [((), len(parts.crew.workers))])
        yield _gauge("mozart_holds", "Holds in force.", [], [((), len(parts.limits.held(time.time())))])
        yield _gauge("mozart_followers", "Log streams being followed.", [], [((), len(parts.followers))])
        yield _gauge("mozart_log_bytes", "Bytes of all logs on disk, as last seen.", [], [((), parts.keeper.bytes)])
        yield _gauge(
            "mozart_degraded",
            "1 while something is wrong.",
            [],
            [((), int(bool(parts.troubles.reason)))],
        )
        yield _gauge(
            "mozart_coordinator_restarts", "Restarts in this life of the daemon.", [], [((), parts.setup.restarts)]
        )


def _gauge(
    name: str, text: str, labels: list[str], samples: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


async def serve(metrics: Metrics, address: str) -> tuple[asyncio.Server, str]:
    """Listen on `host:port`; returns the server and its URL. Raises OSError when the address cannot be had."""
    host, _, port = address.rpartition(":")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_response(metrics, head))
            await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # A scraper that does not finish its request gets no answer.
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host.strip("[]"), int(port), limit=MAX_HEAD)
    bound = server.sockets[0].getsockname()[1]
    return server, f"http://{host}:{bound}/metrics"


def _response(metrics: Metrics, head: bytes) -> bytes:
    if head.split(b" ", 2)[:2] == [b"GET", b"/metrics"]:
        return _http(200, generate_latest(metrics.registry), CONTENT_TYPE_LATEST)
    return _http(404, b"see /metrics\n", "text/plain")


def _http(status: int, body: bytes, kind: str) -> bytes:
    reason = {200: "OK", 404: "Not Found"}[status]
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
