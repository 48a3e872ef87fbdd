"""The console scripts `mozart` and `mozartd`, and the way the daemon starts itself and agents of our own.

Owns one thing: that `agents`, `cli`, `ipc`, `workers` and `backends` are ours and not a user's packages of the same name. It
puts this distribution's folder first and whatever PYTHONPATH or the working directory added last, then imports.
Everything here is on the path of every `mozart status`, so it imports `os` and `sys` alone.
"""

from __future__ import annotations

import os
import sys

#: The folder that holds agents, cli, ipc, workers, backends and mozartd.
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def own_folder_first() -> None:
    """Reorder `sys.path`: ours, the interpreter's, then what the user's shell happened to add."""
    strangers = os.environ.get("PYTHONPATH", "").split(os.pathsep) if not sys.flags.ignore_environment else []
    try:
        here = os.getcwd()
    except FileNotFoundError:  # deleted under us; then nothing was added for it either
        here = "/"
    known = {os.path.join(here, part) for part in strangers if part} | {here}
    rest = [part for part in sys.path if part and os.path.join(here, part) != ROOT]
    ours = [part for part in rest if os.path.join(here, part) not in known]
    sys.path[:] = [ROOT, *ours, *(part for part in rest if part not in ours)]


def speak_utf8() -> None:
    """Start again in UTF-8 mode where the locale would have another encoding: scores, logs and frames are UTF-8 everywhere, and
    a name that they hold must not depend on who started the daemon. Agents keep the locale: it is no variable of ours."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode and sys.executable:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606


def mozart() -> None:
    speak_utf8()
    own_folder_first()
    from cli.main import main

    main()


def mozartd() -> None:
    speak_utf8()
    own_folder_first()
    from mozartd.main import main

    main()


def agent() -> None:
    speak_utf8()
    own_folder_first()
    from agents.main import main

    main(sys.argv[2:])


if __name__ == "__main__":
    agent() if sys.argv[1:2] == ["agent"] else mozartd()
