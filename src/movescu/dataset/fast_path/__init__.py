"""Fast path: detects that a received data set can be written unchanged. Optional reading; it changes no result."""
