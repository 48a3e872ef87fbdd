"""The user's file: its schema, its expansion into sheets, its expressions, its prompts.

Pure but for reading the score's own files (`document`, `load`, `template`). Reading order: document (YAML with positions) →
schema → load (the one entrance) → expand → variables → expressions, template, rules → prompt; then `check` and `plan` for
people. Nothing is imported here, because every module of it costs a daemon memory and a command time.
"""
