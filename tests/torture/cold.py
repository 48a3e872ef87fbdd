"""Many at once where no daemon runs: each gets its answer, and exactly one of them started the daemon.

Every second round finds what a killed daemon left: its lock, its pid file, its sockets.
"""

from __future__ import annotations

from pathlib import Path

from tests.process.daemon import Daemon, processes_of, write_score

CALLERS = 12


def run(home: Path, rounds: int) -> int:
    """How many callers were answered."""
    answered = 0
    for number in range(rounds):
        place = home / str(number)
        place.mkdir()
        daemon = Daemon(place)
        try:
            if number % 2:
                daemon.start(by_command=True)
                daemon.kill_everything()
            one_round(daemon)
            answered += CALLERS
        finally:
            if processes_of(place):
                daemon.mozartd("stop", "--force")
            daemon.remove()
    return answered


def one_round(daemon: Daemon, callers: int = CALLERS) -> None:
    path = write_score(daemon.home, "say hello")
    runs = [daemon.popen("run", "--detach", path) for _ in range(callers)]
    ends = [(run.communicate(timeout=300), run.returncode) for run in runs]
    assert [code for _, code in ends] == [0] * callers, ends
    said = [out + err for (out, err), _ in ends]
    assert sum(b"started the daemon" in each for each in said) == 1, said
    assert len({out.split()[-1] for (out, _), _ in ends}) == callers, ends
