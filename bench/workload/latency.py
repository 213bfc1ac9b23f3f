"""httping: mean time of one HTTP request on a new connection, as in Fig. 11 and 12."""
import re
import statistics

from campaign import Step
from paper.topology import PAPER, predicted_ms
from world import Unfit

TITLE = "Latency of one HTTP request on a new connection (Fig. 11 and 12)"
PLACE = 10
SETTING = ""
COLUMNS = {"mean_ms": "mean, ms", "stdev_ms": "deviation, ms", "max_ms": "longest, ms"}


def steps(lengths, topologies, competitors):
    return [Step("latency", name, topology, 1, r) for r in range(lengths.rounds)
            for topology in topologies or [t.name for t in PAPER] for name in competitors]


def once(world, rival, step, lengths):
    times = httping(world, rival.url, lengths.requests, lengths.pause_s)
    return {"mean_ms": statistics.fmean(times), "median_ms": statistics.median(times), "stdev_ms": statistics.pstdev(times),
            "max_ms": max(times), "predicted_ms": predicted_ms(rival.method, world.topology), "floor_ms": world.topology.floor}


def httping(world, url, requests, pause):
    """Times in ms of `requests` requests; one before them is thrown away."""
    done = world.client.run("httping", "-c", requests + 1, "-i", pause, "-t", "5", "-Y", "-g", url,
                            timeout=60 + (requests + 1) * (pause + 0.2), check=False)
    times = [float(ms) for ms in re.findall(r"time=\s*([\d.]+) ms", re.sub(r"\x1b\[[0-9;]*m", "", done.stdout))]
    if len(times) != requests + 1:
        raise Unfit(f"httping got {len(times)} of {requests + 1} answers: {(done.stderr or done.stdout).strip()[-300:]}")
    return times[1:]
