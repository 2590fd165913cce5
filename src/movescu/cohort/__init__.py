"""Many requests: several side by side, and a journal of what became of each."""
