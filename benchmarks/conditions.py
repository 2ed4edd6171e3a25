"""What every file of results says of how it came about."""

import json
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


def record(file, name, command, found):
    """Keeps what was found for a model, by its name, beside what the file has for others."""
    path = RESULTS / file
    content = json.loads(path.read_text()) if path.exists() else {}
    content[name] = {**conditions(command), **found}
    path.write_text(json.dumps(content, indent=1) + "\n")
