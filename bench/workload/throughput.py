"""Large files down and up: rate, and CPU seconds per GiB of every process that carries them."""
import re

from campaign import Step
from world import Unfit

from .processes import children_s, cpu_s, cpu_since

TITLE = "Throughput of large files"
PLACE = 30
SETTING = ""
SHARES = True
COLUMNS = {"mbit_s": "Mbit/s", "cpu_s_gib": "CPU of its programs, s per GiB"}
SETTINGS = ("1 stream down", "2 streams down", "2 streams up")  # a quick run leaves the first out
PARTS = {"cpu_s_gib of ": "CPU seconds for each GiB, of every process, the client's and the server's too"}
FILE = "large"
MIB = 1 << 20
CURL_TIME_IS_OVER = 28


def steps(lengths, topologies, competitors):
    return [Step("throughput", name, "", setting, r) for r in range(min(3, lengths.rate_rounds))
            for setting in SETTINGS[lengths.kind == "quick":] for name in competitors]


def seconds(step, lengths):
    return lengths.transfer_s


def once(world, rival, step, lengths):
    streams, *_, way = step.setting.split()
    return curl(world, rival, lengths.file_mib, int(streams), up=way == "up", seconds=lengths.transfer_s)


def curl(world, rival, mib, streams, up=False, seconds=300):
    """{"mbit_s", "cpu_s_gib", "cpu_s_gib of PROCESS"} of one file on each of `streams` connections, for at most `seconds`."""
    file = zeros(world, mib)
    ends = [world.serving]
    before, served, asked = cpu_s(rival.processes), cpu_s(ends), children_s()
    words = ["curl", "-sS", "-f", "-m", seconds, "--parallel", "--parallel-immediate", "--parallel-max", streams,
             "-w", f"%{{size_{'upload' if up else 'download'}}} %{{time_total}}\n"]
    for _ in range(streams):
        words += ["-H", "Expect:", "-T", file, rival.url + "sink"] if up else ["-o", "/dev/null", rival.url + FILE]
    done = world.client.run(*words, timeout=seconds + 60, check=False)
    seen = [(int(size), float(time)) for size, time in re.findall(r"^(\d+) ([\d.]+)$", done.stdout, re.M)]
    if done.returncode not in (0, CURL_TIME_IS_OVER) or len(seen) != streams or not all(size and time for size, time in seen):
        raise Unfit(f"curl: {(done.stderr or done.stdout).strip()[-300:]}")
    gib = sum(size for size, _ in seen) / 1024 / MIB
    used = cpu_since(rival.processes, before)
    every = {**used, **cpu_since(ends, served), "client/curl": children_s() - asked}
    return {"mbit_s": sum(size * 8 / time for size, time in seen) / 1e6, "cpu_s_gib": sum(used.values()) / gib if used else None,
            **{f"cpu_s_gib of {name}": cpu / gib for name, cpu in every.items()}}


def zeros(world, mib):
    """The file, of zeros, where the server finds it: nothing on the way compresses, and a hole costs no disk."""
    path = world.lab.path("www", FILE)
    with open(path, "ab") as file:
        file.truncate(mib * MIB)
    return path
