"""How to take out each guard that SECURITY.md promises: one change of the program's text for each promise."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Mutation(NamedTuple):
    file: str
    old: str
    """Stands in the file exactly once."""
    new: str

    def apply(self, checkout: Path) -> None:
        path = checkout / self.file
        text = path.read_text()
        assert text.count(self.old) == 1, f"{self.file} holds {text.count(self.old)} times: {self.old}"
        path.write_text(text.replace(self.old, self.new))


#: By the promise's name.
MUTATIONS: dict[str, Mutation] = {
    "No shell text": Mutation("ipc/score/shell.py", "return _reference(spot, variable)", "return value"),
    "No hidden code": Mutation(
        "ipc/score/shell.py", "why = None if script.is_program(spot) else script.refusal(spot)", "why = None"
    ),
    "No lines in a script": Mutation(
        "workers/attempt.py", 'self._is_script = takes_script(assignment["backend"])', "self._is_script = False"
    ),
    "No option from an agent": Mutation("backends/base.py", "return _SESSION.fullmatch(id) is not None", "return True"),
    "No option from a prompt": Mutation(
        "backends/base.py", 'return f"\\n{text}" if text.startswith("-") else text', "return text"
    ),
    "No secrets in logs": Mutation(
        "workers/mask.py", "tuple(sorted({form for value in values for form in forms(value)}))", "tuple(sorted(values))"
    ),
    "No orders to a terminal": Mutation(
        "ipc/shown.py", 'return text if _is_plain(text) else _without(text, colours, " ")', "return text"
    ),
    "No endless price": Mutation(
        "backends/records.py", "return min(max(0.0, found), MOST_PRICE) if", "return found if"
    ),
    "A limit stops spending": Mutation(
        "mozartd/coordinator/crew.py", 'if not reason or job.policy.on_reached != "stop":', "if True:"
    ),
    "Agents change nothing": Mutation("mozartd/coordinator/clients.py", "if changes(frame):", "if False:"),
    "No borrowed pid": Mutation(
        "mozartd/coordinator/agents.py", "if not line or line[0].started * _TICK > made_at + _TICK:", "if not line:"
    ),
    "Nothing outlives its attempt": Mutation(
        "workers/spawn.py", "with tags.worn(tag), memory.first_to_go():", "with memory.first_to_go():"
    ),
    "Agents go first": Mutation(
        "workers/spawn.py", "with tags.worn(tag), memory.first_to_go():", "with tags.worn(tag):"
    ),
    "Cancelled stays cancelled": Mutation(
        "mozartd/coordinator/book.py", "if WISHES.index(wish) < WISHES.index(sheet.history.stopping):", "if False:"
    ),
    "Rules stay inside": Mutation(
        "workers/workspace.py", 'if real == base or real.startswith(base.rstrip("/") + "/"):', "if True:"
    ),
    "Walks end": Mutation(
        "workers/workspace.py",
        "if self.left <= 0:\n                    return",
        "if self.left <= 0:\n                    pass",
    ),
    "Work can be given up": Mutation(
        "ipc/forkserver.py", "signal.pidfd_send_signal(work.handle, signal.SIGKILL)", "pass"
    ),
    "Only ours is removed": Mutation(
        "mozartd/coordinator/archive.py",
        "ours = [(mark.at, len(name), name) for name, mark in _archives(parent) if mark and mark.maker == maker]",
        "ours = [(mark.at if mark else 0.0, len(name), name) for name, mark in _archives(parent)]",
    ),
    "Beside it, regular files": Mutation("ipc/files.py", "if not stat.S_ISREG(mode):", "if False:"),
    "Nothing from elsewhere": Mutation("ipc/files.py", 'if not place.startswith(base + "/"):', "if False:"),
    "Files are bounded": Mutation("ipc/score/document.py", "if len(data) > MAX_BYTES:", "if False:"),
    # Not without any bound: what compares lists for hours cannot be interrupted.
    "Expressions are bounded": Mutation(
        "ipc/score/expressions.py", "self.left = MAX_STEPS", "self.left = 20 * MAX_STEPS"
    ),
    "Wild patterns are told apart": Mutation(
        "backends/patterns.py", "return _ways(sre.parse(pattern)) <= FEW", "return True"
    ),
    "A deadly job is paused": Mutation(
        "mozartd/coordinator/recovery.py", "if deaths.get(job.id, 0) >= MOST_DEATHS:", "if False:"
    ),
    "Listing runs nothing": Mutation(
        "cli/machine.py",
        "may_run = {name for name in programs if run_projects or name not in files or _is_own(files[name])}",
        "may_run = set(programs)",
    ),
    "A home of one's own": Mutation("ipc/trust.py", "if mode & stat.S_IWOTH:", "if False:"),
    "Private whatever the umask": Mutation("ipc/paths.py", "os.mkdir(path, mode)", "os.mkdir(path)"),
    "Settings are our own": Mutation(
        "mozartd/settings.py", "open_own(path, follow=must_exist)", "open_own(path, follow=True)"
    ),
    "Signals find the daemon": Mutation("mozartd/lock.py", " or pid not in _lockers(pid, wanted):", ":"),
    "Root writes nothing of ours": Mutation("mozartd/answers.py", "refuse_foreign(paths.runtime, kind)", "pass"),
    "Clients know their daemon": Mutation("ipc/client.py", "check_peer(self._socket, path)", "pass"),
    "Never everything": Mutation(
        "ipc/environment.py", "for pattern in patterns if _NAMED.fullmatch(pattern))", "for pattern in patterns)"
    ),
    "Any bytes, one answer": Mutation(
        "mozartd/coordinator/requests/submit.py", "if is_deeper(document, MAX_DEPTH):", "if False:"
    ),
    "No hook's git": Mutation(
        "ipc/environment.py",
        "return {name for name in env if name in _OF_GIT or _NUMBERED.fullmatch(name)}",
        "return set()",
    ),
    "No stranger's modules": Mutation(
        "scripts/mozart",
        "sys.path[:] = [part for part in found if part in known or os.path.abspath(part) not in given]",
        "pass",
    ),
    "No agent's marks": Mutation(
        "mozartd/launch.py", "dropped = AGENT_MARKS.union(_NOT_INHERITED)", "dropped = frozenset(_NOT_INHERITED)"
    ),
    "Compared, not told": Mutation(
        "ipc/environment.py",
        'return blake2b(value.encode(errors="surrogateescape"), key=salt.encode()[:64], digest_size=16).hexdigest()',
        "return value",
    ),
    "Closed is closed": Mutation("mozartd/entry.py", "os.set_inheritable(os.open(os.devnull, mode), True)", "pass"),
}
