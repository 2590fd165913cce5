"""The option table, and how a command line becomes a configuration."""
