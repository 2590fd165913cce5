"""What was received, for programs to read: JSON, described by the schemas in ``data``."""
