"""The daemon: `supervisor` forks and watches, `coordinator` owns every shared fact, `store` keeps them.

`entry` holds the two console scripts; it is the only way in, because it makes the import path safe first.
"""
