"""`mozart status`: the daemon and its jobs, or one job and its sheets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any

from cli import output, text
from cli.arguments import Option
from cli.commands.list import SCREENFUL, jobs_table, starts, unsaved
from cli.daemon import connect
from cli.feed import Feed
from cli.options import Json, OptionalJob, Workspace
from cli.whereabouts import newest
from ipc import shown
from ipc.errors import EXIT_USAGE, MozartError
from ipc.line import Line

EXAMPLE = "mozart status hello-12 --watch\nmozart status --workspace ./out"

HEADER = ("SHEET", "STATE", "ATTEMPTS", "TIME", "COST", "WHY")
CLEAR = b"\x1b[H\x1b[J"


def command(
    job: OptionalJob = None,
    workspace: Workspace = None,
    watch: Annotated[bool, Option("--watch", "-w", help="Keep showing changes until the job ends.")] = False,
    json: Json = False,
) -> int:
    """Show the daemon, or one job.

    The daemon with its jobs, or a job with its sheets: state, attempts, time, cost, and why it waits or failed.
    """
    if workspace is not None:
        job = newest(workspace, job)
    elif job and ("/" in job or job in (".", "..")):
        import shlex

        hint = f"the job of a workspace is `mozart status --workspace {shlex.quote(job)}`; -w is --watch"
        raise MozartError("usage", f"cannot show {job}: it is no job's id or name", hint, EXIT_USAGE)
    if watch:
        return _watch(job, json)
    with connect() as line:
        _show(fetch(line, job), json)
    return 0


def fetch(line: Line, job: str | None) -> dict[str, Any]:
    """What `--json` prints. The sheets of a big job come in pages."""
    if job is None:
        return line.request("status")  # type: ignore[no-any-return]
    page = line.request("status", {"job": job})
    whole = {"job": page["job"], "sheets": page["sheets"]}
    while page.get("next") is not None:
        page = line.request("status", {"job": page["job"]["id"], "after": page["next"]})
        whole["sheets"] += page["sheets"]
    return whole


def _show(answer: dict[str, Any], json: bool) -> None:
    if json:
        output.document(answer)
    else:
        output.say(render(answer, time.time()))


def _watch(job: str | None, json: bool) -> int:
    """Repaint at every event, not by the clock. Ends with the job."""
    # What happens from now on, and then what is: nothing falls between the two.
    with Feed(connect(), {"events.follow": {"follow": True, **({"job": job} if job else {})}}) as feed:
        while True:
            with connect() as line:
                answer = fetch(line, feed.job or None)
            if output.is_terminal() and not json:
                output.write(CLEAR)
            _show(answer, json)
            if feed.ended:
                return 0
            _wait_for_change(feed)


def _wait_for_change(feed: Feed) -> None:
    """All that have come meanwhile are one change."""
    feed.next()
    while feed.has_more() and not feed.ended:
        feed.next()


def render(answer: dict[str, Any], now: float) -> str:
    if "job" in answer:
        return "\n".join(_job_lines(answer["job"], answer["sheets"], now))
    lines = _daemon_lines(answer["daemon"])
    lines += ["", jobs_table(answer["jobs"][:SCREENFUL], now)] if answer["jobs"] else ["", "no jobs"]
    counts = answer["daemon"]["jobs"]
    unfinished = sum(counts.get(state, 0) for state in ("queued", "running", "paused"))
    if unfinished > SCREENFUL:
        lines.append(f"and {unfinished - SCREENFUL:,} more unfinished ones: `mozart list`")
    return "\n".join(lines)


def _daemon_lines(daemon: dict[str, Any]) -> list[str]:
    workers = daemon.get("workers") or []
    running = sum(worker.get("running") or 0 for worker in workers)
    room = running + sum(worker.get("credit") or 0 for worker in workers)
    up = text.duration(daemon["uptime_seconds"])
    why = f" ({shown.cell(daemon['reason'])})" if daemon.get("reason") else ""
    first = f"mozartd {daemon['version']} {text.state(daemon['state'])}{why}, pid {daemon['pid']}, up {up}"
    second = f"{len(workers)} workers, {running} of {room} attempts running"
    if daemon.get("holds"):
        second += f", {daemon['holds']} holds"
    return [first, second]


def _job_lines(job: dict[str, Any], sheets: list[dict[str, Any]], now: float) -> list[str]:
    facts = [
        text.counts(job["sheets"]),
        text.ran(job, now),
        text.money(job["cost_usd"]),
    ]
    lines = [f"{output.paint(job['id'], output.BOLD)} {text.state(job['state'])}: {', '.join(filter(None, facts))}"]
    if said := starts(job, now):
        lines.append(said)
    if job["reason"]:
        lines.append(f"reason: {shown.cell(job['reason'])}")
    if unsaved(job):
        lines.append(f"{unsaved(job)}: it is lost if the daemon stops now")
    lines += [f"score: {shown.cell(job['score'])}", f"workspace: {shown.cell(job['workspace'])}", ""]
    return [*lines, output.table(HEADER, list(rows(sheets, now)))] if sheets else lines[:-1]


def rows(sheets: list[dict[str, Any]], now: float) -> Iterator[list[str]]:
    """A row for each sheet; a run of sheets that nothing has happened to shares one."""
    start = 0
    while start < len(sheets):
        end = start + 1
        while end < len(sheets) and _untouched(sheets[start]) and _same(sheets[start], sheets[end]):
            end += 1
        row = sheet_row(sheets[start], now)
        if end - start > 1:
            row[0] = f"{sheets[start]['n']}-{sheets[end - 1]['n']}"
        yield row
        start = end


def _untouched(sheet: dict[str, Any]) -> bool:
    return not sheet["attempts"]


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return _untouched(other) and all(one[name] == other[name] for name in ("state", "reason", "until"))


def sheet_row(sheet: dict[str, Any], now: float) -> list[str]:
    attempts = sheet["attempts"]
    count = str(len(attempts)) if attempts else ""
    return [
        str(sheet["n"]),
        text.state(sheet["state"]),
        count,
        text.worked(attempts, now),
        text.money(sheet["cost_usd"]),
        why(sheet, now),
    ]


def why(sheet: dict[str, Any], now: float) -> str:
    """Why it waits or what went wrong: the reason, until when, the last attempt's code, the rules that failed; and why it
    runs elsewhere than others."""
    said = [text.first_line(sheet["reason"] or ""), text.until(sheet["until"], now)]
    last = sheet["attempts"][-1] if sheet["attempts"] else None
    # What was stopped and is to run again says already why it does not run.
    if last and last["code"] and sheet["state"] != "completed" and not (last["code"] == "E004" and said[0]):
        if last["code"] not in said[0] and not _says(said[0], last["message"]):
            said.append(f"{last['code']} {text.first_line(last['message'] or '', 100)}".strip())
        said += [
            f"validation failed: {rule}"
            for rule in text.failed_rules(sheet)[:3]
            if not any(rule in one for one in said)
        ]
    if last and last.get("backend_reason"):
        said.append(f"on {last['backend']}: {text.first_line(last['backend_reason'])}")
    return "; ".join(filter(None, said))


def _says(reason: str, message: str | None) -> bool:
    """The reason has those words already."""
    return bool(message) and text.first_line(message or "", 100).rstrip("…") in reason
