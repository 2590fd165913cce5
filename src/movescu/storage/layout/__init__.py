"""Layouts: folders and names of received objects, from a template."""
