"""Coverage-guided fuzzing, by atheris, of what reads bytes that others wrote: frames, requests' parameters, YAML.

`python -m tests.torture.fuzz NAME SECONDS` runs one target until something breaks or the time is over; `run` starts all of
them, each as a process, because libFuzzer ends the process that it runs in. Without atheris `is_here` says so.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests import ROOT

#: Largest input, bytes.
MOST = 4096
#: What an input begins with, so that not only the first error is found.
SEEDS = {
    "frames": (b"\x00\x00\x00\x02{}", b'\x00\x00\x00\x09{"a":[1]}\x00\x00\x00\x02{}'),
    "params": (b'{"job":"song-1","sheets":[1],"cursors":{"1.1":5},"score":{}}', b'{"seconds":1.5,"at":-1,"environment":{}}'),
    "yaml": (
        b"name: x\nworkspace: w\nsheet: {size: 1, total_items: 2}\nprompt: {template: hi}\n",
        b"a: &a [1]\nb: *a\n<<: {c: 1}\n",
    ),
}  # fmt: skip


def is_here() -> bool:
    return importlib.util.find_spec("atheris") is not None


def run(directory: Path, seconds: int) -> None:
    """Every target for that long. Raises AssertionError with what broke one."""
    for name in SEEDS:
        corpus = directory / name
        corpus.mkdir()
        for number, seed in enumerate(SEEDS[name]):
            (corpus / str(number)).write_bytes(seed)
        command = [sys.executable, "-m", __name__, name, str(seconds), str(corpus)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + 120)
        assert done.returncode == 0, f"{name}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        print(f"{name}: {count(done.stderr)} inputs", flush=True)


def count(printed: str) -> str:
    """How many libFuzzer says it tried."""
    lines = [line for line in printed.splitlines() if line.startswith("Done ")]
    return lines[-1].split()[1] if lines else "some"


# ---- the targets: they raise nothing but what they promise -----------------------------------------------------------


def frames() -> Callable[[bytes], None]:
    from ipc.frames import FrameDecoder, FrameError

    def read(pieces: list[bytes]) -> tuple[list[object], bool]:
        decoder = FrameDecoder()
        found: list[object] = []
        try:
            for piece in pieces:
                found += decoder.feed(piece)
        except FrameError:
            return found, True
        return found, False

    def target(data: bytes) -> None:
        assert read([data]) == read([data[n : n + 1] for n in range(len(data))])

    return target


def params() -> Callable[[bytes], None]:
    from ipc.errors import MozartError
    from mozartd.coordinator.params import InvalidParamsError, Params
    from mozartd.coordinator.requests import submit
    from mozartd.coordinator.requests.logs import _cursors

    readers = ("text", "flag", "whole", "integer", "seconds", "mapping", "texts", "wholes")

    def target(data: bytes) -> None:
        with suppress(ValueError, RecursionError):
            document = json.loads(data)
            for reader in readers:
                for name in [*document, "absent"] if isinstance(document, dict) else ["absent"]:
                    with suppress(InvalidParamsError):
                        given = Params(document)
                        getattr(given, reader)(name)
                        given.finish()
            if isinstance(document, dict):
                with suppress(InvalidParamsError):
                    _cursors(document)
                submit.chosen_environment(document, ["PATH", "LC_*"])
                with suppress(MozartError):
                    submit.make_job(submit.check(document, "x"), "x", 0.0, None)

    return target


def yaml() -> Callable[[bytes], None]:
    from ipc.errors import MozartError
    from ipc.score.document import parse_document

    def target(data: bytes) -> None:
        with suppress(UnicodeDecodeError, MozartError):
            parse_document(data.decode(), "x")

    return target


TARGETS: dict[str, Callable[[], Callable[[bytes], None]]] = {"frames": frames, "params": params, "yaml": yaml}


def main() -> None:
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

    name, seconds, corpus = sys.argv[1:]
    with atheris.instrument_imports(include=["ipc", "mozartd", "yaml"]):
        target = TARGETS[name]()
    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds}", f"-max_len={MOST}", "-print_final_stats=0", corpus], target
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
