"""wrk: requests a second, with `Connection: Close` (Fig. 13: connection set-up rate) or kept alive."""
import os
import re

from world import Unfit

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pids):
    """CPU seconds that processes (with their children that ended) have used so far."""
    total = 0.0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / CLOCK_TICKS
        except OSError:
            pass
    return total


def once(world, url, connections, seconds, close):
    """{"rate", "errors", "latency_ms"} of one run of wrk."""
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"] + (["-H", "Connection: Close"] if close else []) + [url]
    done = world.client.run(*words, timeout=seconds + 30, check=False)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)
    latency = re.search(r"Latency\s+([\d.]+)(us|ms|s)", done.stdout)
    if not rate or float(rate.group(1)) == 0:
        raise Unfit(f"wrk got no answers: {(done.stderr or done.stdout).strip()[-300:]}")
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", done.stdout)))
    scale = {"us": 1e-3, "ms": 1, "s": 1e3}
    return {"rate": float(rate.group(1)), "errors": errors,
            "latency_ms": float(latency.group(1)) * scale[latency.group(2)] if latency else None}
