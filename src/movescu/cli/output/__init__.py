"""What the command says: messages, progress, events and reports."""
