"""What every file of results says of how it came about."""

from datetime import date
from pathlib import Path

from revgan.environment import cpu_model, library_versions

RESULTS = Path(__file__).parent / "results"


def conditions(command):
    """The command, the date, the machine, and the versions of what it ran, with threads."""
    return {
        "command": command,
        "date": date.today().isoformat(),
        "machine": cpu_model(),
        "versions": library_versions(),
    }
