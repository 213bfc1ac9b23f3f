"""Programs of Google Benchmark: where they are, and what they print."""
import json
import os
import subprocess

from world import Unfit, epif


def program(folder, name):
    """Path of NAME beside the program, or in the build's bench/FOLDER; raises Unfit without it."""
    build = os.path.dirname(epif())
    for path in (os.path.join(build, name), os.path.join(build, "bench", folder, name)):
        if os.access(path, os.X_OK):
            return path
    raise Unfit(f"{name} is not built; `make bench` builds it")


def measured(path, only, least_s):
    """The one benchmark that the expression `only` names, as a dict; it runs for `least_s` at least."""
    done = subprocess.run([path, f"--benchmark_filter={only}", "--benchmark_format=json", f"--benchmark_min_time={least_s}"],
                          capture_output=True, text=True, timeout=300)
    try:
        return json.loads(done.stdout)["benchmarks"][0]
    except (ValueError, KeyError, IndexError):
        raise Unfit(f"{os.path.basename(path)}: {(done.stderr or done.stdout).strip()[-200:]}") from None
