"""The `mozart` command: parse, ask the daemon, render. One file per verb in `commands/`.

Knows no state of its own: every answer is the daemon's. Imports `ipc`, and `backends` for their renderers only.
"""
