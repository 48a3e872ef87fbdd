"""Where things are: configuration, state, logs, sockets.

One function decides it, from the environment and the uid alone; every process and command calls it and nothing else knows a
path. Creates nothing; `secure_directory` and `check_socket` refuse what somebody else could have planted.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from ipc.errors import EXIT_UNREACHABLE, EXIT_USAGE, MozartError
from ipc.trust import Fault, distrust


@dataclass(frozen=True, slots=True)
class Paths:
    config: str
    """The settings file; need not exist."""
    state: str
    """Directory of the database, the lock and the daemon's own log."""
    logs: str
    """Directory of the attempts' logs: `<job>/<sheet>.<attempt>.log` and `.prompt`."""
    runtime: str
    """Directory of the sockets, 0700."""
    client_socket: str

    @property
    def worker_socket(self) -> str:
        return os.path.join(self.runtime, "workers.sock")

    @property
    def database(self) -> str:
        return os.path.join(self.state, "mozart.db")

    @property
    def lock(self) -> str:
        return os.path.join(self.state, "lock")

    @property
    def pid_file(self) -> str:
        return os.path.join(self.runtime, "mozartd.pid")

    @property
    def daemon_log(self) -> str:
        return os.path.join(self.state, "mozartd.log")

    def attempt_log(self, job: str, sheet: int, k: int) -> str:
        return os.path.join(self.logs, job, f"{sheet}.{k}.log")

    def attempt_prompt(self, job: str, sheet: int, k: int) -> str:
        return os.path.join(self.logs, job, f"{sheet}.{k}.prompt")


def find_paths(env: Mapping[str, str] | None = None, uid: int | None = None) -> Paths:
    """`MOZART_HOME`, else systemd's directories, else root's, else XDG. `MOZART_SOCKET` moves the client's end alone."""
    env = os.environ if env is None else env
    config, state, logs, runtime = _directories(env, os.geteuid() if uid is None else uid)
    socket = env.get("MOZART_SOCKET") or os.path.join(runtime, "mozartd.sock")
    return Paths(os.path.join(config, "config.yaml"), state, logs, runtime, socket)


def _directories(env: Mapping[str, str], uid: int) -> tuple[str, str, str, str]:
    home = env.get("MOZART_HOME")
    if home:
        home = _absolute(home, env, uid)
        return home, os.path.join(home, "state"), os.path.join(home, "logs"), os.path.join(home, "run")
    if env.get("STATE_DIRECTORY") and env.get("RUNTIME_DIRECTORY"):
        state = env["STATE_DIRECTORY"].split(":")[0]
        config = env.get("CONFIGURATION_DIRECTORY", "/etc/mozart").split(":")[0]
        return config, state, os.path.join(state, "logs"), env["RUNTIME_DIRECTORY"].split(":")[0]
    if uid == 0:
        return "/etc/mozart", "/var/lib/mozart", "/var/lib/mozart/logs", "/run/mozart"
    config = os.path.join(_of_user(env, uid, "XDG_CONFIG_HOME", ".config"), "mozart")
    state = os.path.join(_of_user(env, uid, "XDG_STATE_HOME", ".local/state"), "mozart")
    base = _named(env, "XDG_RUNTIME_DIR")
    runtime = os.path.join(base, "mozart") if base else os.path.join(state, "run")
    return config, state, os.path.join(state, "logs"), runtime


def _of_user(env: Mapping[str, str], uid: int, variable: str, default: str) -> str:
    return _named(env, variable) or os.path.join(_named(env, "HOME") or _home_of(uid), default)


def _named(env: Mapping[str, str], variable: str) -> str:
    """The directory that a variable names; '' when it names none. Raises MozartError for one that is another one everywhere."""
    path = env.get(variable, "")
    if path and not os.path.isabs(path):
        raise _nowhere(f"{variable} is {path!r}, not an absolute path")
    return path


def _home_of(uid: int) -> str:
    import pwd

    try:
        home = pwd.getpwuid(uid).pw_dir
    except KeyError:
        raise _nowhere(f"HOME is not set, and user {uid} has no entry in the system's list of users") from None
    if not os.path.isabs(home):
        raise _nowhere(f"HOME is not set, and the home of user {uid} is {home!r}")
    return home


def _absolute(home: str, env: Mapping[str, str], uid: int) -> str:
    expanded = os.path.expanduser(home)
    if home == "~" or home.startswith("~/"):
        expanded = (_named({**os.environ, **env}, "HOME") or _home_of(uid)) + home[1:]
    if expanded.startswith("~"):
        raise _nowhere(f"MOZART_HOME is {home!r}, and there is no home directory that this could mean")
    try:
        return os.path.abspath(expanded)
    except FileNotFoundError:
        raise _nowhere(f"MOZART_HOME is {home!r}, and the working directory has been deleted") from None


def _nowhere(reason: str) -> MozartError:
    hint = "set MOZART_HOME to the absolute path of a directory of your own"
    return MozartError("E303", f"cannot tell where Mozart's files belong: {reason}", hint, EXIT_USAGE)


def secure_directory(path: str, mode: int = 0o700) -> None:
    """Make `path` a directory of ours alone, or refuse: a symlink, another owner, a file in its place, somebody else who may
    write what is above it."""
    fault = distrust(os.path.dirname(path))
    if fault is not None:
        raise fault.refusal(path)
    try:
        _make(path, mode)
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            message, hint = f"cannot use {path}: it is not a directory", "remove it, or set MOZART_HOME"
            raise MozartError("E303", message, hint, EXIT_USAGE) from None
        hint = "choose another place with MOZART_HOME"
        raise MozartError("E303", f"cannot use {path}: {error.strerror}", hint, EXIT_USAGE) from None
    try:
        found = os.fstat(directory)
        if found.st_uid != os.geteuid():
            message = f"belongs to uid {found.st_uid}, not to uid {os.geteuid()}"
            raise Fault(path, message, found.st_uid).refusal(path)
        if stat.S_IMODE(found.st_mode) & ~mode:
            os.fchmod(directory, mode)
    finally:
        os.close(directory)


def _make(path: str, mode: int) -> None:
    """With all that is missing above it. `os.makedirs` would leave those to the umask, which may be 0."""
    if os.path.lexists(path):
        return
    _make(os.path.dirname(path), mode)
    with suppress(FileExistsError):
        os.mkdir(path, mode)


def check_socket(path: str) -> None:
    """Refuse to connect to, or replace, anything but a socket that is ours, root's, or shared with our group."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise MozartError("E501", f"cannot use the socket {path}: {error.strerror}", "", EXIT_UNREACHABLE) from None
    if not stat.S_ISSOCK(found.st_mode):
        kind = "a symlink" if stat.S_ISLNK(found.st_mode) else "not a socket"
        raise MozartError(
            "E501", f"cannot use {path}: it is {kind}", "remove it, then start the daemon", EXIT_UNREACHABLE
        )
    shared = stat.S_IMODE(found.st_mode) & 0o060 == 0o060
    if found.st_uid not in (os.geteuid(), 0) and not shared:
        message = f"cannot use {path}: it belongs to uid {found.st_uid}"
        raise MozartError("E501", message, "set MOZART_SOCKET to the socket of your own daemon", EXIT_UNREACHABLE)
