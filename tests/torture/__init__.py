"""`make torture`: kill, starve and insult a real daemon at random moments, and hold it to design §8.

Each ordeal is a module with a `run(...)` that raises AssertionError, a short form among the tests (`test_*.py`) and a long
form in `python -m tests.torture`. What is random comes from one seed, printed first; `--seed` plays it again.
"""
