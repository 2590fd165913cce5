"""The option table, and the way from a command line to a configuration."""
