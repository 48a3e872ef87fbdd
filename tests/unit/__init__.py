"""Pure parts, no process started."""
