"""Large files down and up: rate, and CPU seconds per GiB of every process that carries them."""
import re

from campaign import Step
from world import Unfit

from .processes import cpu_s, cpu_since

TITLE = "Throughput of large files"
PLACE = 30
SETTING = "streams"
SHARES = True
COLUMNS = {"mbit_s": "Mbit/s", "cpu_s_gib": "CPU of its programs, s per GiB"}
SETTINGS = ("1 down", "2 down", "2 up")
FILE = "large"
MIB = 1 << 20


def steps(lengths, topologies, competitors):
    return [Step("throughput", name, "", setting, r) for r in range(min(3, lengths.rate_rounds)) for setting in SETTINGS
            for name in competitors]


def once(world, rival, step, lengths):
    streams, way = step.setting.split()
    return curl(world, rival, lengths.file_mib, int(streams), up=way == "up")


def curl(world, rival, mib, streams, up=False):
    """{"mbit_s", "cpu_s_gib", "cpu_s_gib of PROCESS"} of one file on each of `streams` connections."""
    file = zeros(world, mib)
    before = cpu_s(rival.processes)
    words = ["curl", "-sS", "-f", "--parallel", "--parallel-immediate", "--parallel-max", str(streams), "-w", "%{time_total}\n"]
    for _ in range(streams):
        words += ["-H", "Expect:", "-T", file, rival.url + "sink"] if up else ["-o", "/dev/null", rival.url + FILE]
    done = world.client.run(*words, timeout=300, check=False)
    times = [float(line) for line in re.findall(r"^([\d.]+)$", done.stdout, re.M)]
    if done.returncode != 0 or len(times) != streams:
        raise Unfit(f"curl: {(done.stderr or done.stdout).strip()[-300:]}")
    gib = mib * streams / 1024
    used = cpu_since(rival.processes, before)
    return {"mbit_s": mib * streams * MIB * 8 / max(times) / 1e6, "cpu_s_gib": sum(used.values()) / gib if used else None,
            **{f"cpu_s_gib of {name}": seconds / gib for name, seconds in used.items()}}


def zeros(world, mib):
    """The file, of zeros, where the server finds it: nothing on the way compresses, and a hole costs no disk."""
    path = world.lab.path("www", FILE)
    with open(path, "ab") as file:
        file.truncate(mib * MIB)
    return path
