"""The modes of the command: retrieve, retrieve a list, check, dry run."""
