"""``python -m movescu`` is the command."""

from movescu.cli.main import run

run()
