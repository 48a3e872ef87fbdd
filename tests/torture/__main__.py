"""The long forms: `python -m tests.torture [NAME …] [--seed N] [--kills N] …`; without names, all of them.

storm      random kills of any process over a mixed load
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.torture import storm


def main() -> int:
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("names", nargs="*", help="of storm")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args()
    print(f"again: python -m tests.torture storm --kills {options.kills} --seed {options.seed}", flush=True)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mz", ignore_cleanup_errors=True) as home:
        done = storm.run(Path(home), options.kills, options.seed)
    kills = ", ".join(f"{count} {name}" for name, count in done.kills.items())
    print(f"{len(done.submitted)} jobs, {kills}: nothing lost ({time.monotonic() - begin:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
