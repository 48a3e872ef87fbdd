"""What somebody else could have planted: directories, files and peers, judged by what the kernel says of them.

StrictModes, as ssh has them: every part of a path is ours or root's, and nobody else may write it. Refuses, never mends. The
daemon and its commands ask before they make or believe anything, a client before it says anything. Imports nothing heavy,
because every `mozart status` pays for it.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from typing import NamedTuple

from ipc.errors import EXIT_UNREACHABLE, EXIT_USAGE, MozartError

#: Links that one path may lead through, as in the kernel.
MAX_LINKS = 40


class Fault(NamedTuple):
    """Why a path cannot be trusted."""

    path: str
    """The part that it is about."""
    reason: str
    """What is wrong with it, as the end of a sentence that begins with "it"."""
    owner: int | None = None
    """Whose it is, when that is what is wrong."""
    is_open: bool = False
    """Its mode is what is wrong."""

    def refusal(self, wanted: str, command: str = "start") -> MozartError:
        part = "it" if self.path == wanted else self.path
        return MozartError("E303", f"cannot use {wanted}: {part} {self.reason}", self._hint(command), EXIT_USAGE)

    def _hint(self, command: str) -> str:
        if self.is_open:
            return f"chmod go-w {self.path}, or set MOZART_HOME to another directory"
        if self.owner is not None and os.geteuid() == 0:
            home = f" MOZART_HOME={os.environ['MOZART_HOME']}" if os.environ.get("MOZART_HOME") else ""
            return f"act as its owner: `sudo -u {user_name(self.owner)}{home} mozartd {command}`"
        return "set MOZART_HOME to a directory of your own"


def refuse_foreign(directory: str, command: str) -> None:
    """Raise MozartError E303 where `mozartd COMMAND` would write what somebody else can turn into something else."""
    fault = distrust(directory)
    if fault is not None:
        raise fault.refusal(directory, command)


def user_name(uid: int) -> str:
    """For a command: `#1234` where the system has no name for it."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def distrust(path: str, uid: int | None = None) -> Fault | None:
    """What lets somebody else than `uid` (we) and root put things at `path`, or in its place. Parts that are not there yet are
    no fault: nobody else can make them."""
    uid = os.geteuid() if uid is None else uid
    at, links = "/", 0
    pending = _parts(os.path.abspath(path))
    fault = _fault("/", os.lstat("/"), uid)
    while pending and fault is None:
        part = pending.pop()
        if part == "..":
            at = os.path.dirname(at)
            continue
        here = os.path.join(at, part)
        try:
            found = os.lstat(here)
        except FileNotFoundError:
            return None
        except OSError as error:
            return Fault(here, f"cannot be looked at: {error.strerror}")
        fault = _fault(here, found, uid)
        if not stat.S_ISLNK(found.st_mode):
            at = here
            continue
        links += 1
        if links > MAX_LINKS:
            return Fault(here, "leads through too many links")
        target = os.readlink(here)
        at = "/" if target.startswith("/") else at
        pending += _parts(target)
    return fault


def _parts(path: str) -> list[str]:
    """The next one last."""
    return [part for part in path.split("/") if part not in ("", ".")][::-1]


def _fault(path: str, found: os.stat_result, uid: int) -> Fault | None:
    if found.st_uid not in (0, uid) and not _is_unmapped(found.st_uid):
        return Fault(path, f"belongs to uid {found.st_uid}, not to uid {uid}", found.st_uid)
    mode = found.st_mode
    if stat.S_ISLNK(mode) or (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        # A link has no mode, and in a sticky directory nobody touches what is another's.
        return None
    if mode & stat.S_IWOTH:
        return Fault(path, "can be written by everybody", is_open=True)
    if mode & stat.S_IWGRP and not (_is_private(found.st_gid, uid) or _is_private(found.st_gid, 0)):
        return Fault(path, f"can be written by the group {_group_name(found.st_gid)}", is_open=True)
    return None


def _is_private(gid: int, uid: int) -> bool:
    """A user's own group, as many systems give everybody one: of that name, with nobody else in it."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _group_name(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _is_unmapped(uid: int) -> bool:
    """Whether this is what a user namespace shows instead of owners that it has no number for, and nobody in it can be."""
    try:
        with open("/proc/sys/kernel/overflowuid") as overflow, open("/proc/self/uid_map") as mapped:
            return uid == int(overflow.read()) and not any(_maps(line, uid) for line in mapped)
    except (OSError, ValueError):
        return False


def _maps(line: str, uid: int) -> bool:
    inside, _, count = map(int, line.split())
    return inside <= uid < inside + count


# ---- files ----------------------------------------------------------------------------------------------------------


def open_own(path: str, flags: int = os.O_RDONLY, *, follow: bool = False) -> int:
    """As `open_regular`, of a file that is ours or root's and that nobody else may write."""
    opened = open_regular(path, flags, follow=follow)
    fault = _fault(path, os.fstat(opened), os.geteuid())
    if fault is not None:
        os.close(opened)
        raise OSError(errno.EPERM, f"it {fault.reason}")
    return opened


def open_regular(path: str, flags: int = os.O_RDONLY, *, follow: bool = False) -> int:
    """A descriptor of a regular file; what is checked is what was opened. `follow`: a person named it, so that it may be a
    link. Raises OSError with a reason in words."""
    more = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    try:
        opened = os.open(path, flags | more, 0o600)
    except OSError as error:
        reasons = {errno.ENXIO: "it is not a regular file"} | ({} if follow else {errno.ELOOP: "it is a link"})
        raise type(error)(error.errno, reasons.get(error.errno or 0, error.strerror)) from None
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.EPERM, "it is not a regular file")
    return opened


# ---- peers ----------------------------------------------------------------------------------------------------------

#: Where root says whose daemon else this machine's users may believe.
CLIENT_FILE = "/etc/mozart/client.yaml"
#: Bytes of it that are read.
MAX_CLIENT_FILE = 65536


def check_peer(connected: socket.socket, path: str, client_file: str = CLIENT_FILE) -> None:
    """Raise MozartError E502 unless whoever listens at `path` is one to whom a score may be told: this user, root, whom root
    names in `client_file`, or the service whose directory in /run this is. The kernel vouches for the uid."""
    option = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", option)
    if uid in (os.geteuid(), 0) or _is_place_of(uid, path) or uid in _socket_owners(client_file):
        return
    message = f"cannot trust the daemon at {path}: it is run by {user_name(uid)} (uid {uid})"
    named = f"root may write `socket_owner: {user_name(uid).removeprefix('#')}` into {client_file}"
    own = (
        f"act as that user (`sudo -u {user_name(uid)} mozart …`)"
        if os.geteuid() == 0
        else "set MOZART_HOME to your own"
    )
    raise MozartError("E502", message, f"{own}, or {named}", EXIT_UNREACHABLE)


def _is_place_of(uid: int, path: str) -> bool:
    """Whether the socket's directory is one that root, or a service manager for it, made for that user in /run. What users have
    of their own there (/run/user) is believed by root alone: to others nobody gives it."""
    directory = os.path.realpath(os.path.dirname(path))
    if not directory.startswith("/run/") or (directory.startswith("/run/user/") and os.geteuid() != 0):
        return False
    parts = directory.split("/")
    try:
        above = [os.stat("/".join(parts[: n + 1]) or "/") for n in range(len(parts))]
    except OSError:
        return False
    return all(found.st_uid in (0, uid) and not found.st_mode & stat.S_IWOTH for found in above)


def _socket_owners(client_file: str) -> set[int]:
    """None of whom root has not named."""
    try:
        if distrust(client_file, 0):
            return set()
        with open(open_regular(client_file), encoding="utf-8") as file:
            text = file.read(MAX_CLIENT_FILE)
    except (OSError, UnicodeDecodeError):
        return set()
    import yaml  # for the few who talk to somebody else's daemon

    try:
        said = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return set()
    named = said.get("socket_owner") if isinstance(said, dict) else None
    return {uid for one in (named if isinstance(named, list) else [named]) if (uid := _uid_of(one)) is not None}


def _uid_of(name: object) -> int | None:
    import pwd

    if isinstance(name, int) and not isinstance(name, bool):
        return name
    try:
        return pwd.getpwnam(name).pw_uid if isinstance(name, str) else None
    except KeyError:
        return int(name) if isinstance(name, str) and name.isascii() and name.isdigit() else None
