"""Everything that outsiders may decide, tried against real daemons, and whether each guard that SECURITY.md promises is one."""
