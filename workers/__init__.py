"""One attempt from assignment to report: prompt, process, lines, log, validations, workspace.

`main.run` is a process the supervisor forks. Nothing here knows the store, other jobs, or what happens next.
"""
