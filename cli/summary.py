"""The end of `mozart run`: what became of each sheet, and what to do about those that failed. Pure."""

from __future__ import annotations

from typing import Any

from cli import output, text
from cli.commands.status import HEADER, rows
from ipc import shown

#: Sheets up to which all are listed; of more, only those that did not succeed.
ALL_LISTED = 20
#: Failed sheets that are explained at length.
EXPLAINED = 5

BAD = ("failed", "blocked", "cancelled", "awaiting", "waiting")


def summary(answer: dict[str, Any], now: float) -> str:
    """From what `status JOB` answered."""
    job, sheets = answer["job"], answer["sheets"]
    bad = [sheet for sheet in sheets if sheet["state"] in BAD]
    listed = sheets if len(sheets) <= ALL_LISTED else bad[:ALL_LISTED]
    parts = ["", output.table(HEADER, list(rows(listed, now)))] if listed else []
    failed = [sheet for sheet in bad if sheet["state"] == "failed"]
    for sheet in failed[:EXPLAINED]:
        parts += ["", *explain(job["id"], sheet)]
    if len(failed) > EXPLAINED:
        parts += ["", f"{len(failed) - EXPLAINED} more failed: see `mozart status {job['id']}`"]
    return "\n".join([*parts, "", headline(job, now)])


def headline(job: dict[str, Any], now: float) -> str:
    took = text.ran(job, now)
    facts = [text.counts(job["sheets"]), took, text.money(job["cost_usd"])]
    line = f"{output.paint(job['id'], output.BOLD)} {text.state(job['state'])}: {', '.join(filter(None, facts))}"
    return f"{line}\nreason: {shown.cell(job['reason'])}" if job["reason"] else line


def explain(job: str, sheet: dict[str, Any]) -> list[str]:
    """A failed sheet: the code and the sentence, the hint, the evidence, the rules that were not met, where to look."""
    last = sheet["attempts"][-1] if sheet["attempts"] else {}
    said = " ".join(filter(None, [last.get("code"), last.get("message") or sheet["reason"] or "failed"]))
    lines = [output.paint(f"sheet {sheet['n']}: {shown.cell(said)}", output.RED)]
    lines += [f"  validation failed: {shown.cell(rule)}" for rule in text.failed_rules(sheet) if rule not in said]
    if last.get("evidence"):
        lines.append(f"  evidence: {text.first_line(last['evidence'], 200)}")
    if last.get("hint"):
        lines.append(f"  hint: {shown.cell(last['hint'])}")
    if last:
        lines.append(f"  log: mozart logs {job} --sheet {sheet['n']} --attempt {last['k']}")
    return lines
