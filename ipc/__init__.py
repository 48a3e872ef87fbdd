"""What two processes must agree on.

Frames, messages, states and their transition table, errors, paths, the log's format, and `ipc.score` (the user's file).
It imports nothing of ours, and does no I/O beyond the two ends of a socket (`client`, `connection`).
"""

#: Version of the wire. A hello with another one is answered with a sentence and the connection ends.
PROTOCOL = 1

#: Version of the program, shown by `--version` and by the daemon's hello.
VERSION = "0.1.0"
