"""Mozart with the real programs, against a loopback server that speaks their APIs: `make test-agents`.

They run with an environment made here and nothing else of this machine's: a fresh HOME, invented keys, telemetry and
updates off, every URL on 127.0.0.1, where possible in a network namespace in which nothing else exists.
"""
