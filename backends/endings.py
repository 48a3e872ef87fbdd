"""What a process's ending means, as far as any program's does: why it was stopped, its signal, its exit code.

Pure. Each function answers None when it has nothing to say, and the backend goes on to what it alone knows. The order
is that of every verdict here: our own stop, then structured events, then this, then text on stderr.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from signal import Signals

from backends.base import Ending, Limited, Verdict
from backends.failures import limited
from backends.records import last_line

_AGAIN_HINT = "`mozart retry JOB` runs it again"
_CRASH_HINT = "see its log for the last thing it did, and look for a newer version"
_FAILED_HINT = "see its log"
_KILLED_HINT = "check dmesg for the OOM killer, and who else may end processes here"

_STOPPED = {
    "timeout": ("timeout", "E001", "timed out", "raise backend.timeout_seconds, or split the work into more sheets"),
    "stalled": ("stalled", "E006", "no output", "raise stale_detection.idle_timeout_seconds"),
    "no_output": ("stalled", "E006", "no output", "run the command by hand and see what it waits for"),
    "first_byte": ("timeout", "E504", "no output", "check that its service answers: run the command by hand"),
    "post_result": (
        "stalled",
        "E007",
        "the agent gave its result but did not exit",
        "check for a process that it started and that keeps it alive",
    ),
    "capped": ("capped", "E509", "stopped at its cost limit", "raise the limit, or split the sheet"),
    "cancelled": ("cancelled", "E004", "cancelled", _AGAIN_HINT),
}

_CRASHES = frozenset(
    {Signals.SIGABRT, Signals.SIGBUS, Signals.SIGFPE, Signals.SIGILL, Signals.SIGSEGV, Signals.SIGSYS, Signals.SIGTRAP}
)
_MEMORY = re.compile(
    r"(?i)heap out of memory|out of memory: killed|memory cgroup out of memory|\boom[-_]kill(?:er)?\b|\bOOMKilled\b"
    r"|^MemoryError\b|std::bad_alloc|fatal error: (?:runtime: )?out of memory|\bOutOfMemoryError\b"
    r"|memory allocation of \d+ bytes failed|\bcannot allocate memory",
    re.MULTILINE,
)
#: How what reads command lines says that it does not understand one: clap, yargs, commander, argparse, cobra, click and shells'
#: getopt.
_USAGE = re.compile(
    r"(?m)^(?:(?P<who>\S+): )?(?:[Ee]rror: )?(?:"
    r"unexpected argument .{1,200}"
    r"|(?:unknown|unrecognized|invalid) (?:option|arguments?|(?:shorthand )?flag|command)\b.{0,200}"
    r"|Unknown (?:arguments?|options?|command): .{1,200}|No such (?:option|command)\b.{0,200}|Invalid values:.{0,200}"
    r"|unknown (?:long )?option .{1,200}|missing required argument\b.{0,200}|Missing (?:argument|option|parameter)\b.{0,200}"
    r"|Not enough non-option arguments: .{1,200}|option .{1,80} (?:requires an|argument missing).{0,200}"
    r"|the following (?:required )?arguments (?:are required|were not provided):.{0,200}"
    r"|argument .{1,80}: (?:invalid|expected) .{1,200}"
    r"|(?:accepts|requires) .{0,40}\barg\(s\),? .{0,80}|required flag\(s\) .{1,200}|Got unexpected extra arguments? .{1,200}"
    r"|a value is required for .{1,200}|invalid value .{1,80} for .{1,200}|Invalid value for .{1,200}"
    r"|No input provided via stdin.{0,200}|flag needs an argument: .{1,200}|flag provided but not defined: .{1,200})$"
)
#: A program that does not understand its command line ends at once, and so.
_USAGE_SECONDS, _USAGE_CODES = 10.0, (1, 2, 64)
#: A line in which an agent says that it tries something again by itself.
RETRYING = re.compile(
    r"(?i)\bretry(?:ing)?\b|\battempt \d+ failed\b|\btrying again\b|\breconnecting\b|\bbacking off\b"
    r"|\b(?:sleeping|waiting) (?:for )?\d"
)
_NOT_FOUND = re.compile(r"(?i)not found|no such file or directory|cannot find|not recognized")
_PANIC = re.compile(r"(?m)^.*(?:panicked at|Bun has crashed|Segmentation fault|Fatal Python error|core dumped).*$")


def stopped(ending: Ending, limit: Limited | None = None, last_seen: str = "") -> Verdict | None:
    """Mozart stopped it: that is what happened, whatever the exit code. `last_seen` is what it was busy with."""
    if ending.stopped_by is None:
        return None
    if ending.stopped_by == "limited":
        return limited(limit or Limited("the agent reported a limit"))
    otherwise = ("failed", "E009", f"stopped ({ending.stopped_by})", _AGAIN_HINT)
    name, code, message, hint = _STOPPED.get(ending.stopped_by, otherwise)
    message += _after(ending)
    if name == "timeout" and (busy := _retried(ending)):
        message = f"{message} while retrying: {busy}"
    seen = last_seen or last_line(ending.stderr_tail) or last_line(ending.stdout_tail)[-300:] or "no output"
    return Verdict(name, code, message, hint, seen)


def _after(ending: Ending) -> str:
    """` for 300s (stale_detection.idle_timeout_seconds)`: the patience that ended, and where it is set."""
    if not ending.patience:
        return ""
    seconds = f"{ending.patience:g}s"
    return {
        "timeout": f" after {seconds}",
        "stalled": f" for {seconds} (stale_detection.idle_timeout_seconds)",
        "no_output": f" in its first {seconds} (stale_detection.idle_timeout_seconds)",
        "first_byte": f" in its first {seconds}",
    }.get(ending.stopped_by or "", "")


def _retried(ending: Ending) -> str:
    """The last line that says so, of stderr rather than of what may be the model's words."""
    for said in (ending.stderr_tail, ending.stdout_tail):
        found = [line.strip() for line in said.split("\n") if RETRYING.search(line[:2000])]
        if found:
            return found[-1][:200]
    return ""


def misunderstood(ending: Ending, names: Collection[str]) -> Verdict | None:
    """Its own words for a command line that it does not understand; nothing that an agent at work could have printed.

    `names`: as which it may speak of itself. What another program is called by was called by the agent.
    """
    if ending.exit_code not in _USAGE_CODES or ending.seconds > _USAGE_SECONDS or '{"' in ending.stdout_tail:
        return None
    # What says more than a usage text is an answer, which may be about anything.
    printed = ending.stdout_tail if len(ending.stdout_tail) < 4000 else ""
    found = _USAGE.search(ending.stderr_tail) or _USAGE.search(printed)
    if found is None or (found["who"] or "error").lower() not in {"error", *names}:
        return None
    hint = "correct backend.cli_extra_args or the command; run it by hand with --help"
    return Verdict("failed", "E301", f"the agent rejected its command line: {found[0][:300]}", hint, found[0][:2000])


def signalled(ending: Ending) -> Verdict | None:
    """It died of a signal, told by the kernel or, as shells do, by an exit code of 128 + n."""
    number = ending.signal if ending.signal is not None else _by_shell(ending.exit_code)
    if number is None:
        return None
    name = _signal_name(number)
    if number in (Signals.SIGKILL, Signals.SIGABRT) and (evidence := _out_of_memory(ending)):
        return Verdict(
            "crashed",
            "E005",
            f"out of memory ({name})",
            "give it more memory, or split the work into more sheets",
            evidence,
        )
    if number in _CRASHES:
        return Verdict("crashed", "E003", f"the agent crashed ({name})", _CRASH_HINT, _crash_line(ending) or name)
    if number == Signals.SIGINT:
        return Verdict("failed", "E004", "interrupted (SIGINT)", _AGAIN_HINT, name)
    return Verdict("crashed", "E002", f"the agent was killed ({name})", _KILLED_HINT, name)


def missing(program: str, evidence: str = "") -> Verdict:
    """The program does not exist: said by the worker when it cannot start it, and here for exit code 127."""
    hint = f"install {program}, or add its directory to PATH" if program else "install it, or add its directory to PATH"
    return Verdict("missing", "E505", f"{program or 'a program'}: command not found", hint, evidence or program)


def conventional(ending: Ending, program: str = "", names: Collection[str] = ()) -> Verdict | None:
    """What exit codes mean by convention when nothing better is known: 124 timeout, 126 and 127 not to be started."""
    line = last_line(ending.stderr_tail)
    if ending.exit_code == 124:
        message = "a command in it timed out (exit status 124)"
        return Verdict("timeout", "E001", message, "give that command more time", line)
    if ending.exit_code == 127 and (not line or _NOT_FOUND.search(ending.stderr_tail)):
        return missing(_named_in(ending.stderr_tail) or program, line)
    if ending.exit_code == 126 and (not line or "denied" in line or "cannot execute" in line or "exec" in line):
        hint = f"chmod +x {program}" if program else "make it executable with chmod +x"
        return Verdict("missing", "E505", f"{program or 'a program'}: permission denied", hint, line)
    return misunderstood(ending, {program.rpartition("/")[2], *names})


def crashed(ending: Ending) -> Verdict | None:
    """A crash report on stderr with an exit code that hides it (Rust's 101, a runtime's own handler)."""
    if ending.exit_code in (0, None):
        return None
    if evidence := _out_of_memory(ending):
        return Verdict(
            "crashed", "E005", "out of memory", "give it more memory, or split the work into more sheets", evidence
        )
    if evidence := _crash_line(ending):
        return Verdict("crashed", "E003", f"the agent crashed (exit status {ending.exit_code})", _CRASH_HINT, evidence)
    return None


def failed(ending: Ending, code: str = "E009", message: str = "", hint: str = "") -> Verdict:
    """Nothing more is known: the exit code and the last thing it said."""
    words = message or f"the agent exited with status {ending.exit_code}"
    said = last_line(ending.stderr_tail) or last_line(ending.stdout_tail)
    return Verdict("failed", code, words, hint or _FAILED_HINT, said)


def with_issues(ending: Ending) -> Verdict:
    """It answered, and exited with 1 all the same: whether that is enough is for the rules to say."""
    words = f"the agent answered, but exited with status {ending.exit_code}"
    said = last_line(ending.stderr_tail) or last_line(ending.stdout_tail)
    return Verdict("incomplete", "E009", words, "add a validation for what must be there", said)


def truncated(ending: Ending) -> Verdict:
    message = "the agent exited with status 0, but its output ends before the result"
    said = last_line(ending.stdout_tail)[-300:] or "no output"
    return Verdict("truncated", "E503", message, "its session can be continued", said)


def _by_shell(exit_code: int | None) -> int | None:
    if exit_code is None or not 128 < exit_code < 160:
        return None
    known = _CRASHES | {
        Signals.SIGHUP,
        Signals.SIGINT,
        Signals.SIGQUIT,
        Signals.SIGKILL,
        Signals.SIGPIPE,
        Signals.SIGTERM,
    }
    return exit_code - 128 if exit_code - 128 in known else None


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


def _out_of_memory(ending: Ending) -> str:
    if ending.out_of_memory:
        return ending.out_of_memory
    found = _MEMORY.search(ending.stderr_tail)
    return _line_around(ending.stderr_tail, found) if found else ""


def _crash_line(ending: Ending) -> str:
    found = _PANIC.search(ending.stderr_tail)
    return found[0].strip()[:2000] if found else ""


def _line_around(text: str, found: re.Match[str]) -> str:
    begin = text.rfind("\n", 0, found.start()) + 1
    end = text.find("\n", found.end())
    return text[begin : end if end >= 0 else len(text)].strip()[:2000]


def _named_in(stderr: str) -> str:
    """The program a shell could not find: `sh: 1: foo: not found`, `bash: line 1: foo: command not found`."""
    found = re.search(r"(?m)^(?:.*: )?([^:\s]+): (?:command )?not found\s*$", stderr)
    return found[1] if found else ""
