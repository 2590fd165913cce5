"""The command: its options, its log and its exit codes."""
