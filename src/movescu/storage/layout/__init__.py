"""Layouts: the folders and file names of received objects, by a template."""
