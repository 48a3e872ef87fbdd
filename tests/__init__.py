"""Tests: unit (pure parts), process (real trees), contract (recorded agent output), compat, conventions, bench."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AGENT = ROOT / "tests" / "fakes" / "agent"
