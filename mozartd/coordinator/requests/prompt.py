"""`prompt`: the prompt actually sent to an attempt.

{job, sheet?, attempt?} → {job, sheet, attempt, text}. Without sheet or attempt: the newest.
"""

from __future__ import annotations

from typing import Any

from ipc.errors import MozartError
from ipc.threads import in_thread
from mozartd.coordinator.clients import Session
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts


async def handle(parts: Parts, session: Session, params: Params) -> dict[str, Any]:
    typed, sheet, attempt = params.text("job"), params.whole("sheet"), params.whole("attempt")
    params.finish()
    job = await parts.registry.find(typed)
    await parts.turn.shown()
    rows = await parts.store.read("attempts_in_order", seq=job.seq)
    chosen = [row for row in rows if sheet in (None, row["n"]) and attempt in (None, row["k"])]
    if not chosen:
        raise MozartError(
            "no_prompt", f"cannot show a prompt of {typed}: no such attempt has started", f"see mozart status {job.id}"
        )
    n, k = chosen[-1]["n"], chosen[-1]["k"]
    path = parts.setup.paths.attempt_prompt(job.id, n, k)
    try:
        text = await in_thread(_read, path)
    except FileNotFoundError:
        message = f"cannot show the prompt of {job.id}, sheet {n}, attempt {k}: it was never rendered"
        raise MozartError("no_prompt", message, f"mozart status {job.id} says why") from None
    return {"job": job.id, "sheet": n, "attempt": k, "text": text}


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
