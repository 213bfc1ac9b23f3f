"""Large files: rate in both directions, and CPU seconds per GiB of every process that carries them."""
import re

from world import Unfit

from .rate import cpu_s

FILE = "large"
MIB = 1 << 20


def prepare(world, mib):
    """A file of zeros at the server: nothing on the way compresses, and its disk costs nothing."""
    path = world.lab.path("www", FILE)
    with open(path, "wb") as file:
        file.truncate(mib * MIB)


def once(world, competitor, mib, streams):
    """{"mbit_s", "cpu_s_per_gib": {process: s}} of one download on each of `streams` connections."""
    before = {process.name: cpu_s([process.pid]) for process in competitor.processes}
    words = ["curl", "-sS", "--parallel", "--parallel-immediate", "--parallel-max", str(streams), "-w", "%{speed_download} %{time_total}\n"]
    for _ in range(streams):
        words += ["-o", "/dev/null", competitor.url + FILE]
    done = world.client.run(*words, timeout=300, check=False)
    lines = re.findall(r"^(\d+) ([\d.]+)$", done.stdout, re.M)
    if done.returncode != 0 or len(lines) != streams:
        raise Unfit(f"curl: {(done.stderr or done.stdout).strip()[-300:]}")
    gib = mib * streams / 1024
    longest = max(float(seconds) for _, seconds in lines)
    after = {process.name: cpu_s([process.pid]) - before[process.name] for process in competitor.processes}
    return {"mbit_s": mib * streams * MIB * 8 / longest / 1e6, "cpu_s_per_gib": {name: used / gib for name, used in after.items()}}
