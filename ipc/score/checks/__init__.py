"""The V-codes of score-format §7, one subject per file; each function takes a `LoadedScore` and gives its problems."""
