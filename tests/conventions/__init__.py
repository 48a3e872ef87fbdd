"""What style and structure promise, checked over the whole tree."""
