"""Requests to an archive: keys, identifiers, query files and lists of requests (PS3.4 annex C)."""
