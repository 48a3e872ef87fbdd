"""`prompt`: the prompt actually sent to an attempt.

{job, sheet?, attempt?} → {job, sheet, attempt, text}. Without sheet or attempt: the newest.
"""

from __future__ import annotations

from typing import Any

from ipc.errors import MozartError
from ipc.frames import MAX_FRAME
from ipc.threads import in_thread
from mozartd.coordinator.clients import Session
from mozartd.coordinator.packed import DamagedError
from mozartd.coordinator.params import Params
from mozartd.coordinator.parts import Parts
from mozartd.coordinator.reading import open_regular


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
    which = f"the prompt of {job.id}, sheet {n}, attempt {k}"
    try:
        text = await in_thread(_read, path)
    except DamagedError:
        raise MozartError("no_prompt", f"cannot show {which}: {path} is not the file that was written", "") from None
    if text is None:
        message = f"cannot show {which}: it was never rendered, or is gone with its log"
        raise MozartError("no_prompt", message, f"mozart status {job.id} says why") from None
    return {"job": job.id, "sheet": n, "attempt": k, "text": text}


def _read(path: str) -> str | None:
    fd = open_regular(path)
    if fd is None:
        return None
    with open(fd, encoding="utf-8", errors="replace") as file:
        return file.read(MAX_FRAME)
