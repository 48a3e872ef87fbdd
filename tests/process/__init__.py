"""Real processes: a daemon in a temporary directory, agents, kills."""
