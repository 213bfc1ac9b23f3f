"""httping: mean time of one HTTP request on a new connection, as in Fig. 11 and 12."""
import re
import statistics

from campaign import Step
from paper.topology import PAPER, named, predicted_ms
from world import Unfit

TITLE = "Latency of one HTTP request on a new connection (Fig. 11 and 12)"
PLACE = 10
SETTING = ""
BESIDE = 3
NOTE = (f"{BESIDE} topologies are measured at once, each with a client, proxy and server of its own: between requests, and while they are on "
        "their way, the cores have nothing to do.")
ASK_S = 0.0005  # of a request itself
COLUMNS = {"mean_ms": "mean, ms", "stdev_ms": "deviation, ms", "max_ms": "longest, ms"}


def steps(lengths, topologies, competitors):
    places = topologies or [t.name for t in PAPER]
    return [Step("latency", name, topology, 1, r) for r in range(lengths.rounds) for at in range(0, len(places), BESIDE)
            for name in competitors for topology in places[at:at + BESIDE]]


def seconds(step, lengths):
    return requests_s(lengths.requests, lengths.pause_s, step.topology)


def requests_s(requests, pause_s, topology):
    """What httping should take: it pauses, asks, and asks once more than it counts."""
    predicted = predicted_ms("socks6", named(topology)) / 1000 if topology else 0
    return (requests + 1) * (pause_s + predicted + ASK_S)


def begin(world, rival, step, lengths):
    asked = begin_httping(world, rival.url, lengths.requests, lengths.pause_s)

    def finish():
        times = asked()
        return {"mean_ms": statistics.fmean(times), "median_ms": statistics.median(times), "stdev_ms": statistics.pstdev(times),
                "max_ms": max(times), "predicted_ms": predicted_ms(rival.method, world.topology), "floor_ms": world.topology.floor}
    return finish


def once(world, rival, step, lengths):
    return begin(world, rival, step, lengths)()


def begin_httping(world, url, requests, pause):
    """Starts to ask; what it returns waits until all are answered, for the times in ms of `requests` requests. One before them is
    thrown away."""
    process = world.client.start("httping", "-c", requests + 1, "-i", pause, "-t", "5", "-Y", "-g", url)

    def finish():
        process.wait(within=60 + (requests + 1) * (pause + 0.2))
        world.lab.processes.remove(process)
        said = re.sub(r"\x1b\[[0-9;]*m", "", process.output())
        times = [float(ms) for ms in re.findall(r"time=\s*([\d.]+) ms", said)]
        if len(times) != requests + 1:
            raise Unfit(f"httping got {len(times)} of {requests + 1} answers: {said.strip()[-300:]}")
        return times[1:]
    return finish


def httping(world, url, requests, pause):
    return begin_httping(world, url, requests, pause)()
