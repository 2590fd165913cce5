"""What the command does: retrieve, retrieve a list, check, dry run."""
