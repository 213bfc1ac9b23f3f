"""Large files down and up: rate, and CPU seconds per GiB of every process that carries them."""
import contextlib
import json
import os
import re

from campaign import Step
from lab import Failure
from world import HTTP_PORT, Unfit

from .processes import children_s, cpu_s, cpu_since
from .serving import instead

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
SINK = os.path.join(os.path.dirname(__file__), "../throughput/sink.py")
SWAP_S = 0.3       # to put the sink in NGINX's place, and to undo that
DRAIN_S = 10       # for what is still on the way when curl's time is over
ARRIVED = 0.9      # share of what curl has sent that must come to the server: the rest were buffers that an aborted upload left full


def steps(lengths, topologies, competitors):
    return [Step("throughput", name, "", setting, r) for r in range(min(3, lengths.rate_rounds))
            for setting in SETTINGS[lengths.kind == "quick":] for name in competitors]


def seconds(step, lengths):
    return lengths.transfer_s + (SWAP_S if way(step) == "up" else 0)


def remarks(measured):
    return ["Up: what the server has read, and how fast it came there (bench/throughput/sink.py, which answers when all is there)."
            if "arrived" in measured.quantities else "Up: what curl has sent; the server answered before it had read it."]


def way(step):
    return step.setting.split()[-1]


def once(world, rival, step, lengths):
    return curl(world, rival, lengths.file_mib, int(step.setting.split()[0]), up=way(step) == "up", seconds=lengths.transfer_s)


def curl(world, rival, mib, streams, up=False, seconds=300):
    """{"mbit_s", "cpu_s_gib", "cpu_s_gib of PROCESS", "arrived": share of what was sent (up alone)} of one file on each of
    `streams` connections, for at most `seconds`."""
    file = zeros(world, mib)
    words = ["curl", "-sS", "-f", "-m", seconds, "--parallel", "--parallel-immediate", "--parallel-max", streams,
             "-w", f"%{{size_{'upload' if up else 'download'}}} %{{time_total}}\n"]
    for _ in range(streams):
        words += ["-H", "Expect:", "-T", file, rival.url + "sink"] if up else ["-o", "/dev/null", rival.url + FILE]
    with instead(world, lambda: sink(world)) if up else contextlib.nullcontext(world.serving) as server:
        before, served, asked = cpu_s(rival.processes), cpu_s([server]), children_s()
        done = world.client.run(*words, timeout=seconds + 60, check=False)
        seen = [(int(size), float(time)) for size, time in re.findall(r"^(\d+) ([\d.]+)$", done.stdout, re.M)]
        if done.returncode not in (0, CURL_TIME_IS_OVER) or len(seen) != streams or not all(size and time for size, time in seen):
            raise Unfit(f"curl: {(done.stderr or done.stdout).strip()[-300:]}")
        sent, client_s = sum(size for size, _ in seen), children_s() - asked
        if up:
            seen = arrived(server, streams, sent)
        used = cpu_since(rival.processes, before)
        every = {**used, **cpu_since([server], served), "client/curl": client_s}
    carried = sum(size for size, _ in seen)
    gib = carried / 1024 / MIB
    return {"mbit_s": sum(size * 8 / time for size, time in seen) / 1e6, "cpu_s_gib": sum(used.values()) / gib if used else None,
            **({"arrived": carried / sent} if up else {}), **{f"cpu_s_gib of {name}": cpu / gib for name, cpu in every.items()}}


def sink(world):
    process = world.server.start("/usr/bin/python3", SINK, HTTP_PORT, name="sink")
    world.server.wait_for_port(HTTP_PORT, process=process)
    return process


def arrived(server, streams, sent):
    """[(bytes, seconds) of each upload that came to the sink `server`]; Unfit if they are not the `sent` bytes of all `streams`."""
    def uploads():
        lines = [json.loads(line) for line in server.output().splitlines(True) if line.endswith("}\n")]
        return [(line["received"], line["seconds"]) for line in lines if line["seconds"]]
    with contextlib.suppress(Failure):
        server.wait_for(lambda: len(uploads()) >= streams, "all uploads have ended", within=DRAIN_S)
    found = uploads()
    if sum(size for size, _ in found) < ARRIVED * sent:
        raise Unfit(f"the upload ended at the proxy: of {sent / MIB:.0f} MiB that curl sent {sum(size for size, _ in found) / MIB:.0f} came to the server")
    return found


def zeros(world, mib):
    """The file, of zeros, where the server finds it: nothing on the way compresses, and a hole costs no disk."""
    path = world.lab.path("www", FILE)
    with open(path, "ab") as file:
        file.truncate(mib * MIB)
    return path
