"""wrk with `Connection: Close`, as in Fig. 13: how many connections a second are set up, used once and taken down."""
import re

from campaign import Step
from world import Unfit

from .processes import cpu_s, cpu_since

TITLE = "New connections: requests with `Connection: Close` (Fig. 13)"
PLACE = 20
SETTING = "connections"
SHARES = True
NOTE = "No link has a delay, unless a topology is given; with the article's own lengths (--paper) the links have its 1/1/2 ms."
CONNECTIONS = (1, 2, 4, 8, 16)  # the article's
ARTICLE = ("direct", "nginx_http", "socks5_plain", "socks6_plain", "epif")
COLUMNS = {"rate": "requests/s", "cpu_us": "CPU of its programs, µs a request", "latency_ms": "latency, ms"}


def steps(lengths, topologies, competitors):
    places = topologies or [lengths.rate_links]
    return [Step("rate", name, topology, connections, r) for r in range(lengths.rate_rounds) for topology in places
            for connections in lengths.connections for name in competitors] + [
           Step("rate", name, topology, connections, 0) for topology in places for connections in lengths.article_connections
           for name in competitors if name in ARTICLE]


def remarks(measured):
    missed = [str(count) for count in CONNECTIONS if count not in measured.settings]
    others = [name for name in measured.titles if name not in ARTICLE]
    alone = [str(count) for count in measured.settings if others and not any(
        measured.values(name, topology, count, "rate") or measured.error(name, topology, count) for name in others for topology in measured.topologies)]
    return ([f"Of the article's numbers of connections these were not measured: {', '.join(missed)}."] if missed else []) + (
        [f"The article's methods and epif alone were measured with {', '.join(alone)} connections, in one run."] if alone else [])


def seconds(step, lengths):
    return lengths.seconds


def once(world, rival, step, lengths):
    return wrk(world, rival, step.setting, lengths.seconds, close=True)


def wrk(world, rival, connections, seconds, close):
    """{"rate" in requests/s, "errors", "latency_ms", "cpu_us" of the rival's programs a request}."""
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"] + (["-H", "Connection: Close"] if close else []) + [rival.url]
    # One request is thrown away, as for latency: programs learn from their first what others know from the start.
    world.client.run("curl", "-s", "-o", "/dev/null", "--max-time", "10", rival.url, timeout=15, check=False)
    before = cpu_s(rival.processes)
    done = world.client.run(*words, timeout=seconds + 30, check=False)
    used = sum(cpu_since(rival.processes, before).values())
    rate = re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)
    count = re.search(r"(\d+) requests in", done.stdout)
    latency = re.search(r"Latency\s+([\d.]+)(us|ms|s)", done.stdout)
    if not rate or float(rate.group(1)) == 0:
        raise Unfit(f"wrk got no answers: {(done.stderr or done.stdout).strip()[-300:]}")
    refused = re.search(r"connect (\d+)", done.stdout)
    if refused and int(refused.group(1)) and not rival.processes:
        raise Unfit(f"void: without a proxy {refused.group(1)} connections failed, so the client's ports were used up")
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", done.stdout)))
    scale = {"us": 1e-3, "ms": 1, "s": 1e3}
    return {"rate": float(rate.group(1)), "errors": errors, "cpu_us": used / int(count.group(1)) * 1e6 if rival.processes else None,
            "latency_ms": float(latency.group(1)) * scale[latency.group(2)] if latency else None}
