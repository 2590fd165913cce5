"""Reports of received objects for programs: JSON, described by the schemas in ``data``."""
