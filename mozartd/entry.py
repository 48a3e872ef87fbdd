"""The console scripts `mozart` and `mozartd`, and the way the daemon starts itself and agents of our own.

Owns one thing: that what we import is ours, or installed for us, and not something of the same name that PYTHONPATH or the
working directory holds. It puts this distribution's folder first and takes those out, then imports; agents get the variable
as it was. Everything here is on the path of every `mozart status`, so it imports what the interpreter has imported already.
"""

from __future__ import annotations

import os
import sys

#: The folder that holds agents, cli, ipc, workers, backends and mozartd.
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def own_folder_first() -> None:
    """Ours, then the interpreter's. Where we are ourselves on PYTHONPATH, so may be what we need: then that comes last."""
    try:
        here = os.getcwd()
    except FileNotFoundError:  # deleted under us; then nothing was added for it either
        here = "/"
    variable = None if sys.flags.ignore_environment else os.environ.get("PYTHONPATH")
    given = {os.path.join(here, part) for part in (variable or "").split(os.pathsep) if part}
    strangers = (given | {here}) - _installed()
    rest = [part for part in sys.path if part and os.path.join(here, part) != ROOT]
    ours = [part for part in rest if os.path.join(here, part) not in strangers]
    sys.path[:] = [ROOT, *ours, *(part for part in rest if ROOT in given and part not in ours)]


def _installed() -> set[str]:
    """Where an interpreter's own packages are, also when somebody names that again."""
    site = sys.modules.get("site")
    found = {os.path.dirname(os.__file__)}
    return found if site is None else {*found, *site.getsitepackages(), site.getusersitepackages()}


def open_standard_descriptors() -> None:
    """What the caller closed of 0, 1 and 2, before a socket or a database gets that number and what is printed goes into it.

    Writing to stdout goes on failing, so that it is said; for stderr there would be nobody to say it to.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one: those below are open by now.
            os.set_inheritable(os.open(os.devnull, mode), True)
    sys.stdin, sys.stdout, sys.stderr = (
        stream or open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for good
        for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr))
    )


def speak_utf8() -> None:
    """Start again in UTF-8 mode where the locale would have another encoding: scores, logs and frames are UTF-8 everywhere, and
    a name that they hold must not depend on who started the daemon. Agents keep the locale: it is no variable of ours."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode and sys.executable:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606


def mozart() -> None:
    open_standard_descriptors()
    speak_utf8()
    own_folder_first()
    from cli.main import main

    main()


def mozartd() -> None:
    open_standard_descriptors()
    speak_utf8()
    own_folder_first()
    from mozartd.main import main

    main()


def agent() -> None:
    open_standard_descriptors()
    speak_utf8()
    own_folder_first()
    from agents.main import main

    main(sys.argv[2:])


if __name__ == "__main__":
    agent() if sys.argv[1:2] == ["agent"] else mozartd()
