"""Scores, frames and databases of earlier versions still load."""
