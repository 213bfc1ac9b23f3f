"""wrk for a minute: whether a proxy at its end still does what it did at its beginning."""
import re
import threading
import time

from campaign import Step
from world import Unfit

TITLE = "For a minute: the last ten seconds against the first ten"
PLACE = 22
SETTING = "requests"
COLUMNS = {"first": "first 10 s, requests/s", "last": "last 10 s, requests/s", "ratio": "last / first"}
NOTE = ("`new` is a connection for each request, `kept` is requests on connections that stay; the number is that of connections at once. "
        "What a part of the minute had is its part of the bytes that reached the client, since all answers are alike. epif alone, one run.")
FIGURE = False
CONNECTIONS = (16, 64)
WHOLE_S, PART_S = 60, 10


def steps(lengths, topologies, competitors):
    if lengths.kind == "quick" or "epif" not in competitors:
        return []
    return [Step("steady", "epif", "", f"{kind}, {count}", 0) for kind in ("new", "kept") for count in CONNECTIONS]


def seconds(step, lengths):
    return WHOLE_S


def once(world, rival, step, lengths):
    return minute(world, rival, step.setting, WHOLE_S, PART_S)


def minute(world, rival, setting, whole_s, part_s):
    """{"first" and "last" in requests/s, "ratio", "errors"}; raises Unfit if wrk got no answers."""
    kind, count = setting.split(", ")
    words = ["wrk", "-t1", f"-c{count}", f"-d{whole_s}s"] + (["-H", "Connection: Close"] if kind == "new" else []) + [rival.url]
    world.client.run("curl", "-s", "-o", "/dev/null", "--max-time", "10", rival.url, timeout=15, check=False)
    made = []
    wrk = threading.Thread(target=lambda: made.append(world.client.run(*words, timeout=whole_s + 30, check=False)))
    seen, began = [], time.monotonic()
    wrk.start()
    for until in (0, part_s, whole_s - part_s, whole_s):
        time.sleep(max(0.0, began + until - time.monotonic()))  # what is measured is time
        seen.append((time.monotonic(), received(world.client)))
    wrk.join()
    requests = re.search(r"(\d+) requests in", made[0].stdout) if made else None
    if not requests or int(requests[1]) == 0:
        raise Unfit(f"wrk got no answers: {(made[0].stderr or made[0].stdout).strip()[-300:] if made else 'it did not end'}")
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", made[0].stdout)))
    return {**shares(seen, received(world.client), int(requests[1])), "errors": errors}


def shares(seen, end, requests):
    """From (time, bytes received) at the begin of a run, at the end of its first part, at the begin of its last part and at its end; `end`:
    bytes when all is over; and how many requests that was."""
    a_request = (end - seen[0][1]) / requests
    rates = [(later[1] - early[1]) / a_request / (later[0] - early[0]) for early, later in (seen[:2], seen[2:])]
    return {"first": rates[0], "last": rates[1], "ratio": rates[1] / rates[0] if rates[0] else None}


def received(node):
    """Bytes that a node has received on its links."""
    lines = node.run("cat", "/proc/net/dev").stdout.splitlines()[2:]
    return sum(int(line.partition(":")[2].split()[0]) for line in lines if line.split(":")[0].strip() != "lo")
