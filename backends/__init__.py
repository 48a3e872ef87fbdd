"""One file per agent CLI or API. Sans-I/O: build the command, parse a line into events, give the verdict, render for people.

Never spawns, never reads a clock or a file, imports nothing of ours. `workers` drives the parsers, `cli` the renderers.
"""
