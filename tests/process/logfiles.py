"""An attempt's log as its files hold it, read without any of the product's reading: what followers must have been sent."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path

from ipc.segments import GONE, LOG, PACKED, parse_name


def segments(directory: Path, sheet: int = 1, k: int = 1, kinds: tuple[str, ...] = (LOG, PACKED)) -> dict[int, Path]:
    """The files that hold an attempt's bytes, by where they begin. Of twins the compressed one."""
    found = {}
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        name = parse_name(path.name)
        if name and (name.sheet, name.k) == (sheet, k) and name.kind in kinds:
            found[name.start] = path
    return dict(sorted(found.items()))


def read_log(directory: Path, sheet: int = 1, k: int = 1) -> bytes:
    """All that is there; fails when there is a hole."""
    while True:
        # A segment may be compressed, and so get another name, between listing and reading.
        with contextlib.suppress(FileNotFoundError):
            return _read_log(directory, sheet, k)


def _read_log(directory: Path, sheet: int, k: int) -> bytes:
    log = b""
    first = None
    for start, path in segments(directory, sheet, k).items():
        first = start if first is None else first
        assert start == first + len(log), f"{path.name} begins behind a hole"
        log += gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return log


def attempts(directory: Path) -> set[tuple[int, int]]:
    names = (parse_name(path.name) for path in directory.iterdir()) if directory.is_dir() else ()
    return {(name.sheet, name.k) for name in names if name and name.kind != GONE}
