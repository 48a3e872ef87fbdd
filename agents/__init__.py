"""Agents of our own, one file a service: small programs that speak to a model's API and tell what happens as NDJSON.

A worker starts one as it starts any agent's command line (`mozartd/entry.py agent NAME`), so that logs, masking, clocks,
cancel and `kill -9` work for it as for all. They import the vendors' packages, which are extras, and nothing of ours: what
they are told comes as JSON on stdin, what they say is read by `backends.api`.
"""
