"""Texts generated from the option table: help, manual page, completion; and the version."""
