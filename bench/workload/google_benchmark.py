"""Programs of Google Benchmark: where they are, and what they print."""
import json
import os
import subprocess

from world import Unfit, epif


def path(folder, name):
    """That of NAME beside the program, or in the build's bench/FOLDER; "" without it."""
    build = os.path.dirname(epif())
    there = (os.path.join(build, name), os.path.join(build, "bench", folder, name))
    return next((path for path in there if os.access(path, os.X_OK)), "")


def program(folder, name):
    """Its path(); raises Unfit without it."""
    found = path(folder, name)
    if not found:
        raise Unfit(f"{name} is not built; `make bench` builds it")
    return found


def measured(program_path, only, least_s):
    """The one benchmark that the expression `only` names, as a dict; it runs for `least_s` at least."""
    done = subprocess.run([program_path, f"--benchmark_filter={only}", "--benchmark_format=json", f"--benchmark_min_time={least_s}"],
                          capture_output=True, text=True, timeout=300)
    try:
        return json.loads(done.stdout)["benchmarks"][0]
    except (ValueError, KeyError, IndexError):
        raise Unfit(f"{os.path.basename(program_path)}: {(done.stderr or done.stdout).strip()[-200:]}") from None
