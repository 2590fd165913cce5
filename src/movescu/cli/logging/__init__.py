"""The log: levels, and the configuration files of log4cplus and of Python's ``logging``."""
