"""What this machine has of each backend: its program, its version, a login. For `mozart backends`.

Never reads a credential: that a file exists, or that a variable is set, is all that is looked at. Nothing asks the network, and
nothing that a profile of the working directory's says is executed unless a person asked to run that backend: a checkout is
somebody else's.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from typing import IO, Any, NamedTuple

import backends
from cli import group
from ipc.errors import MozartError
from ipc.trust import distrust

#: Seconds that a program may take to say its version.
PATIENCE = 10.0
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)*(?:[-+.\w]*\w)?")


class Known(NamedTuple):
    kind: str
    program: str
    variables: tuple[str, ...] = ()
    """Any of them set is a login."""
    files: tuple[str, ...] = ()
    """Any of them existing is a login; `~` and `$NAME` are the user's."""


KNOWN = {
    "claude_cli": Known(
        "cli", "claude", ("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN"),
        ("$CLAUDE_CONFIG_DIR/.credentials.json", "~/.claude/.credentials.json"),
    ),
    "codex_cli": Known(
        "cli", "codex", ("CODEX_API_KEY", "OPENAI_API_KEY"), ("$CODEX_HOME/auth.json", "~/.codex/auth.json")
    ),
    "gemini_cli": Known("cli", "gemini", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), ("~/.gemini/oauth_creds.json",)),
    "opencode_cli": Known(
        "cli", "opencode", ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"),
        ("$XDG_DATA_HOME/opencode/auth.json", "~/.local/share/opencode/auth.json"),
    ),
    "command": Known("command", ""),
    "anthropic_api": Known("api", "anthropic", ("ANTHROPIC_API_KEY",)),
    "ollama": Known("api", "ollama"),
    "recursive_light": Known("api", ""),
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    name: str
    kind: str
    """cli, api, profile or command."""
    program: str
    """The program's name, or the Python package of an API; empty when it needs none."""
    version: str
    available: bool
    why: str
    """Why it is not available, or what may keep it from working."""
    path: str
    logged_in: bool | None
    """None: nothing to log into, or not to be known without asking."""
    origin: str = "shipped"
    """Whose word it is: shipped, user (a profile in the configuration) or project (one of this directory's)."""
    file: str = ""
    """Of the profile, where it is not shipped."""
    shadows: str = ""
    """Whose profile of the same name it stands before: shipped or user."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Asked(NamedTuple):
    process: subprocess.Popen[bytes]
    said: IO[bytes]
    """A file: nobody has to read while it writes."""


def names() -> list[str]:
    return [*backends.AVAILABLE, *sorted(_files())]


def profile(name: str) -> dict[str, Any] | None:
    """What the profile of that name says; None for a backend of ours."""
    if name in backends.AVAILABLE:
        return None
    from ipc.score.document import read_document
    from ipc.score.problems import ScoreError

    file = _files()[name].file
    try:
        found = read_document(file).data
        backends.load(name, found)
    except ScoreError as error:
        raise MozartError("E301", f"cannot use the profile {error.problems[0]}", "correct it") from None
    except (OSError, ValueError) as error:
        raise MozartError("E301", f"cannot use the profile {file}: {error}", "correct it") from None
    return dict(found)


class Profile(NamedTuple):
    file: str
    origin: str
    shadows: str


def _files() -> dict[str, Profile]:
    """Profiles by name: shipped, the user's over those, this directory's over both."""
    from ipc.score.profiles import directories

    project, user = directories("score.yaml")
    found: dict[str, Profile] = {}
    for origin, directory in (("shipped", backends.SHIPPED), ("user", user), ("project", project)):
        with contextlib.suppress(OSError):
            for name in _names(directory):
                before = found[name].origin if name in found else ""
                found[name] = Profile(os.path.join(directory, name + ".yaml"), origin, before)
    return {name: profile for name, profile in found.items() if name not in backends.AVAILABLE}


def _names(directory: str) -> list[str]:
    return [name.removesuffix(".yaml") for name in os.listdir(directory) if name.endswith(".yaml")]


def look(wanted: Sequence[str], run_projects: bool = False) -> list[Found]:
    """All at the same time: some programs take a second to say their version. `run_projects`: a person asked to run what this
    directory's profiles say."""
    files = _files()
    broken = {name: why for name in wanted if (why := _fault(name))}
    programs = {name: _version_command(name) for name in wanted if name not in broken}
    may_run = {name for name in programs if run_projects or name not in files or _is_own(files[name])}
    with contextlib.ExitStack() as stack:
        asked = {name: _ask(programs[name], stack) for name in may_run if _is_here(programs[name])}
        found = [
            Found(name, "profile", "", "", False, broken[name], "", None)
            if name in broken
            else _found(name, programs[name], asked.get(name))
            for name in wanted
        ]
    return [_placed(one, files.get(one.name)) for one in found]


def _is_own(profile: Profile) -> bool:
    """Ours, or the user's where nobody else could have put it (MOZART_HOME may be anywhere)."""
    return profile.origin == "shipped" or (profile.origin == "user" and distrust(profile.file) is None)


def _is_here(argv: list[str]) -> bool:
    return bool(argv and shutil.which(argv[0]))


def _placed(found: Found, profile: Profile | None) -> Found:
    if profile is None or profile.origin == "shipped":
        return found
    return replace(found, origin=profile.origin, file=profile.file, shadows=profile.shadows)


def _fault(name: str) -> str:
    try:
        profile(name)
    except MozartError as error:
        return error.message
    return ""


def _version_command(name: str) -> list[str]:
    said = profile(name)
    if said is not None:
        return [str(word) for word in (said.get("version") or {}).get("argv") or said["command"]["argv"][:1]]
    known = KNOWN[name]
    return [known.program, "--version"] if known.kind == "cli" else []


def _ask(argv: list[str], stack: contextlib.ExitStack) -> Asked | OSError:
    """The program that says its version, or why it does not even run."""
    # Somewhere empty: some programs write their files where they are, or obey those they find.
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="mozart-"))
    said = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack is its context
    try:
        process = subprocess.Popen(
            argv,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return error
    return Asked(stack.enter_context(process), said)


def _answer(asked: Asked) -> str:
    group.finish(asked.process, PATIENCE)
    asked.said.seek(0)
    found = _VERSION.search(asked.said.read().decode(errors="replace"))
    return found[0] if found and asked.process.returncode == 0 else ""


def _found(name: str, argv: list[str], asked: Asked | OSError | None) -> Found:
    known = KNOWN.get(name) or Known("profile", argv[0])
    login = _login(known)
    if known.kind == "api":
        return _found_api(name, known, login)
    path = shutil.which(known.program) or "" if known.program else ""
    missing = bool(known.program) and not path
    why = f"{known.program}: command not found" if missing else ""
    if isinstance(asked, OSError):
        why = f"cannot run {path}: {asked.strerror}"
    version = _answer(asked) if isinstance(asked, Asked) else ""
    return Found(name, known.kind, known.program, version, not why, why or _doubt(known, login), path, login)


def _found_api(name: str, known: Known, login: bool | None) -> Found:
    version = ""
    if known.program:
        with contextlib.suppress(metadata.PackageNotFoundError):
            version = metadata.version(known.program)
    missing = bool(known.program) and not version
    why = f"pip install 'mozartd[{known.program}]'" if missing else _doubt(known, login)
    return Found(name, known.kind, known.program, version, not missing, why, "", login)


def _login(known: Known) -> bool | None:
    if not known.variables and not known.files:
        return None
    paths = [os.path.expandvars(os.path.expanduser(path)) for path in known.files]
    return any(os.environ.get(name) for name in known.variables) or any(os.path.exists(path) for path in paths)


def _doubt(known: Known, login: bool | None) -> str:
    return "" if login is not False else f"no login found: log in, or set {known.variables[0]}"
