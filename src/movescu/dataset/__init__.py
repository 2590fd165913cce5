"""Data sets: walking, recoding, file meta information and identifiers (PS3.5, PS3.10)."""
