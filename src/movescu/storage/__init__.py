"""Where received objects go: their names and their files."""
