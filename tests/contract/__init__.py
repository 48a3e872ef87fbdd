"""Backends against recorded output of the real agent CLIs."""
