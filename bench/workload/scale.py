"""How many connections are held at a time, and what each costs in memory while it is idle."""
import os
import resource
import time

from campaign import Step
from world import HTTP_PORT, Unfit

from .dialogue import dialogue
from .processes import private_kib
from .serving import instead

TITLE = "Connections held"
PLACE = 60
SETTING = "connections"
COLUMNS = {"client_kib": "private memory at the client, KiB each", "proxy_kib": "private memory at the proxy, KiB each",
           "opened_s": "opened a second"}
NOTE = ("Each connection asks an NGINX once, idles, and asks again at the end: one that does not answer voids the row. Memory: private pages "
        "(USS) of all processes of a competitor, after minus before, divided by the connections. A process has 20,000 descriptors at most, "
        "two for each connection; \"epif\" has its leg to the proxy under TLS, and holds what its buffers cost released.")
STARTS = True
PARTS = {"kib of ": "Private memory of each process, KiB for each connection"}
QUICK = {"epif_clear": (8000,), "epif": (4000,)}
SETTINGS = {"full": (1000, 8000), "paper": (1000, 4000, 8000)}
ROUNDS = {"quick": 1, "full": 2, "paper": 3}
WARM = 50            # connections that come and go before the memory is read for the first time
SETTLED_S = 1.2      # memory that did not fall for so long is what idle connections cost
SETTLE_MAX_S = 6
CONFIG = """daemon off; master_process off; worker_processes 1; pid {state}/echo.pid; error_log {state}/echo-error.log;
worker_rlimit_nofile {descriptors}; events {{ worker_connections {connections}; }}
http {{ access_log off; keepalive_timeout 1h; keepalive_requests 1000000;
  client_body_temp_path {state}/e1; proxy_temp_path {state}/e2; fastcgi_temp_path {state}/e3;
  uwsgi_temp_path {state}/e4; scgi_temp_path {state}/e5;
  server {{ listen {port} backlog=4096; location / {{ return 200 $arg_n; }} }} }}
"""


def steps(lengths, topologies, competitors):
    return [Step("scale", name, "", n, r) for r in range(ROUNDS[lengths.kind]) for name in competitors
            for n in (QUICK.get(name, ()) if lengths.kind == "quick" else SETTINGS[lengths.kind])]


def seconds(step, lengths):
    return SETTLED_S + step.setting / 1000  # to open and ask again


def once(world, rival, step, lengths):
    count, hard = step.setting, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for all that is started from here
    if hasattr(rival, "proxy_flags"):  # all connections come from one client here
        rival.proxy_flags = (*rival.proxy_flags, "--max-connections-per-source", str(count + WARM + 1000))
    with instead(world, lambda: echo(world, hard)):
        rival.start(world)
        words = holder(rival)
        with dialogue(world, world.client, *words, WARM) as (warm, _):
            whole(warm["held"], WARM, warm["why"])
        before = private_kib(rival.processes)
        with dialogue(world, world.client, *words, count, ready_s=60 + count / 100) as (opened, ask):
            whole(opened["held"], count, opened["why"])
            idle = settled(rival.processes)
            again = ask("again", 60 + count / 100)
            whole(again["alive"], count, again["why"])
    each = {name: (idle[name] - before[name]) / count for name in idle}
    return {**{f"{node}_kib": sum(kib for name, kib in each.items() if name.startswith(node + "/")) if any(
        name.startswith(node + "/") for name in each) else None for node in ("client", "proxy")},
            "opened_s": count / opened["seconds"], "held": count, **{f"kib of {name}": kib for name, kib in each.items()}}


def holder(rival):
    """The words of hold.py, but for the number of connections."""
    at = rival.url.removeprefix("http://").strip("/")
    return ("/usr/bin/python3", os.path.join(os.path.dirname(__file__), "../scale/hold.py"), at if ":" in at else f"{at}:{HTTP_PORT}")


def whole(good, count, why):
    if good != count:
        raise Unfit(f"{good} of {count} connections answered; the first other one: {why}")


def echo(world, descriptors):
    path = world.lab.path("echo.conf")
    with open(path, "w", encoding="ascii") as file:
        file.write(CONFIG.format(state=world.lab.state, descriptors=descriptors, connections=descriptors - 100, port=HTTP_PORT))
    process = world.server.start("nginx", "-c", path, "-p", world.lab.state, name="echo")
    world.server.wait_for_port(HTTP_PORT, process=process)
    return process


def settled(processes):
    """private_kib once it falls no more: buffers of handshakes are given back a moment later."""
    lowest, since = private_kib(processes), time.monotonic()
    deadline = since + SETTLE_MAX_S
    while processes and time.monotonic() - since < SETTLED_S and time.monotonic() < deadline:
        time.sleep(0.1)
        now = private_kib(processes)
        if sum(now.values()) < 0.99 * sum(lowest.values()):
            since = time.monotonic()
        lowest = now
    return lowest
