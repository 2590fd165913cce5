"""Lists of requests: concurrent retrieves, and a journal of their outcomes."""
