"""Tests: unit (pure parts), process (real trees), contract (recorded agent output), compat, conventions, bench."""
