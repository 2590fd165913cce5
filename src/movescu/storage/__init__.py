"""Storage of received objects: into files, with their names and folders, or into sinks."""
