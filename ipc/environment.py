"""Whose variables reach whom: what git and other agents set for their children and nobody means to hand on, what `submit_env`
names, what the daemon has that its clients have otherwise.

Pure but for systemd's credentials. The daemon asks when it starts, a client when it submits; both must agree on what a name in
`submit_env` stands for, and compare values without telling them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping

#: Variables by which an agent tells its tools that they run inside it. An agent started with one of them in its
#: environment refuses to start, joins the other's session, or sends its output elsewhere: the worker drops them.
AGENT_MARKS = frozenset(
    {
        "CLAUDECODE",
        "CLAUDE_CODE_CHILD_SESSION",
        "CLAUDE_CODE_ENTRYPOINT",
        "CLAUDE_CODE_EXECPATH",
        "CLAUDE_CODE_SESSION_ID",
        "CLAUDE_CODE_SSE_PORT",
        "CLAUDE_EFFORT",
        "CODEX_SANDBOX",
        "CODEX_SANDBOX_NETWORK_DISABLED",
        "CODEX_THREAD_ID",
        "CURSOR_AGENT",
        "GEMINI_CLI",
        "GOOSE_TERMINAL",
        "OPENCODE",
        "OPENCODE_PID",
        "QWEN_CODE",
    }
)

#: What `git rev-parse --local-env-vars` prints, of every version: which repository, which index, which configuration.
_REPOSITORY = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS",
    "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_QUARANTINE_PATH", "GIT_REF_STORAGE_FORMAT",
    "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
)  # fmt: skip
#: What it sets beside those for one command of its own: who commits, with which editor, in the course of what.
_COMMAND = (
    "GIT_AUTHOR_DATE", "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_NAME", "GIT_CHERRY_PICK_HELP", "GIT_COMMITTER_DATE",
    "GIT_COMMITTER_EMAIL", "GIT_COMMITTER_NAME", "GIT_EDITOR", "GIT_EXEC_PATH", "GIT_INTERNAL_GETTEXT_SH_SCHEME",
    "GIT_MERGE_AUTOEDIT", "GIT_PUSH_OPTION_COUNT", "GIT_REFLOG_ACTION", "GIT_SEQUENCE_EDITOR",
)  # fmt: skip
_OF_GIT = frozenset(_REPOSITORY + _COMMAND)
_NUMBERED = re.compile(r"(GIT_CONFIG_(KEY|VALUE)|GIT_PUSH_OPTION)_[0-9]+|GITHEAD_[0-9a-f]+")
#: Only git's own children have any of these: a hook, an alias, `rebase --exec`.
_SIGNS = frozenset(
    {"GIT_DIR", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
     "GIT_QUARANTINE_PATH"}
)  # fmt: skip

#: name → value; None where there is none.
Lookup = Callable[[str], str | None]

#: A name, or the beginning of some: what means everybody's variables names nobody's.
_NAMED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[A-Za-z_][A-Za-z0-9_]+\*")


def left_by_git(env: Mapping[str, str], pid: int) -> set[str]:
    """The names in `env` that a hook of git's hands on to what it starts. Of process `pid`, none when a service manager started
    that: what a unit sets is meant."""
    is_unit = env.get("SYSTEMD_EXEC_PID") == str(pid) or "NOTIFY_SOCKET" in env
    if is_unit or not _SIGNS.intersection(env):
        return set()
    return {name for name in env if name in _OF_GIT or _NUMBERED.fullmatch(name)}


def without_git(env: Mapping[str, str], pid: int) -> dict[str, str]:
    left = left_by_git(env, pid)
    return {name: value for name, value in env.items() if name not in left}


def is_named(name: str, patterns: Iterable[str]) -> bool:
    """Whether the setting `submit_env` names this variable."""
    return any(_matches(name, pattern) for pattern in patterns if _NAMED.fullmatch(pattern))


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def names_nothing(patterns: Iterable[str]) -> list[str]:
    """Those of `submit_env` that are neither a name nor the beginning of names."""
    return [pattern for pattern in patterns if not _NAMED.fullmatch(pattern)]


def lookup_in(environment: Mapping[str, str]) -> Lookup:
    """The daemon's value of a name: a variable, else a systemd credential of that name."""

    def lookup(name: str) -> str | None:
        directory = environment.get("CREDENTIALS_DIRECTORY")
        if name in environment or not directory:
            return environment.get(name)
        try:
            with open(os.path.join(directory, name), encoding="utf-8") as file:
                return file.read().rstrip("\n")
        except OSError:
            return None

    return lookup


# ---- what a client has otherwise ------------------------------------------------------------------------------------

#: Names that are compared at once, at most.
MOST_COMPARED = 256
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: `${NAME}`, as `backend.env` has it.
REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ACCESS = re.compile(
    r"(?!VSCODE_)[A-Z0-9_]*_(API_?KEY|(API|AUTH|OAUTH|ACCESS|BEARER|SESSION)_TOKEN|SECRET(_ACCESS)?_KEY|ACCESS_KEY_ID"
    r"|APPLICATION_CREDENTIALS|TOKEN_BEDROCK|BASE_URL|API_(BASE|URL|HOST)|ENDPOINT)"
    r"|(GH|GITHUB|HF|COPILOT_GITHUB)_TOKEN|OLLAMA_HOST|AWS_PROFILE|CLAUDE_CONFIG_DIR|CODEX_HOME"
    r"|CLAUDE_CODE_USE_(BEDROCK|VERTEX)"
)


def is_access(name: str) -> bool:
    """Whether a variable looks like a backend's credential, or says where a service or a login is."""
    return _ACCESS.fullmatch(name) is not None


def digest(value: str, salt: str) -> str:
    """What tells two values apart and not what they are."""
    from hashlib import blake2b  # only where something is compared

    return blake2b(value.encode(errors="surrogateescape"), key=salt.encode()[:64], digest_size=16).hexdigest()


def described(names: Iterable[str], env: Mapping[str, str]) -> dict[str, str]:
    """For a request: name → digest, '' for one that is not set here, and under '' the salt."""
    salt = os.urandom(16).hex()
    chosen = sorted(names)[:MOST_COMPARED]
    return {"": salt, **{name: digest(env[name], salt) if name in env else "" for name in chosen}}


def compare(theirs: Mapping[str, object], names: Iterable[str], lookup: Lookup) -> dict[str, list[str]]:
    """By kind, the names that a client described and the daemon has `other`wise or not (`missing`), and those of access that it
    has and the client did not describe (`only`). `names`: the daemon's own."""
    salt = str(theirs.get("", ""))
    found: dict[str, list[str]] = {"other": [], "missing": [], "only": []}
    for name, told in list(theirs.items())[: MOST_COMPARED + 1]:
        if not NAME.fullmatch(name):
            continue
        mine = lookup(name)
        if mine is None:
            found["missing"].append(name)
        elif told and told != digest(mine, salt):
            found["other"].append(name)
    found["only"] = sorted(name for name in names if is_access(name) and name not in theirs)
    return {kind: which for kind, which in found.items() if which}
