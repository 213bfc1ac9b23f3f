"""httping: mean time of one HTTP request on a new connection, as in Fig. 11 and 12."""
import re
import statistics

from paper.topology import predicted_ms
from world import Unfit

PAUSE_S = 0.05


def once(world, url, requests, pause=PAUSE_S):
    """Times in ms of `requests` requests; one before them is thrown away."""
    done = world.client.run("httping", "-c", requests + 1, "-i", pause, "-t", "5", "-Y", "-g", url,
                            timeout=60 + (requests + 1) * (pause + 0.2), check=False)
    times = [float(ms) for ms in re.findall(r"time=\s*([\d.]+) ms", re.sub(r"\x1b\[[0-9;]*m", "", done.stdout))]
    if len(times) != requests + 1:
        raise Unfit(f"httping got {len(times)} of {requests + 1} answers: {(done.stderr or done.stdout).strip()[-300:]}")
    return times[1:]


def summary(topology, method, times):
    mean = statistics.fmean(times)
    return {"mean_ms": mean, "median_ms": statistics.median(times), "stdev_ms": statistics.pstdev(times), "max_ms": max(times),
            "predicted_ms": predicted_ms(method, topology), "floor_ms": topology.floor}
