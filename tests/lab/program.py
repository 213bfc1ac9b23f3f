"""Where the program under test is, and files for it."""
import json
import os
import pathlib

from .promise import Failure

repository = pathlib.Path(__file__).resolve().parents[2]


def epif():
    """Path of the program: EPIF of the environment, else build/release/epif."""
    path = os.environ.get("EPIF") or str(repository / "build/release/epif")
    if not os.access(path, os.X_OK):
        raise Failure(f"cannot run: {path} is not there; build it with `make`, or set EPIF")
    return path


def write_json(path, value):
    """Writes a file atomically, as the agent writes routes.json, so that a watcher never sees half of it."""
    path = pathlib.Path(path)
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(new, path)
    return str(path)
