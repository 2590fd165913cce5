"""What is made from the option table: help, manual page, completion, version."""
