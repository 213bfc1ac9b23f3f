"""A gain per idea: each of paper/ideas.py alone and all together, against all of them off, for latency, rate and throughput."""
import functools
import re
import statistics
import subprocess

from campaign import Step
from competitor._ours import Ours
from lab import write_json
from paper import ideas
from world import HTTP_PORT, SERVER, Unfit, epif

from .latency import httping, requests_s
from .rate import wrk
from .throughput import curl

TITLE = "A gain per idea"
PLACE = 38
SETTING = ""
COLUMNS = {"mean_ms": "latency, ms", "rate": "new connections/s", "cpu_us": "CPU of its programs, µs a connection", "mbit_s": "Mbit/s"}
TOPOLOGY = "docker5"
CONNECTIONS = 16
LENGTHS = {"quick": (10, 1, 1), "full": (60, 3, 3), "paper": (120, 10, 5)}  # requests, s of wrk, rounds
METRICS = {"latency": TOPOLOGY, "load": ""}  # and where it is measured
NOTE = ("Each idea alone, with all others off, and all together; off: SOCKS6 without any accelerator. Latency in "
        f"{TOPOLOGY}; new connections/s with {CONNECTIONS} connections and Mbit/s of two streams without delay.")


@functools.cache
def switches(command):
    done = subprocess.run([epif(), command, "--help"], capture_output=True, text=True, timeout=10)
    return frozenset(re.findall(r"--[a-z][a-z0-9-]*", done.stdout))


class Variant(Ours):
    """epif with the ideas of `on`, and none else."""
    on = ()
    wants = ()

    def start(self, world):
        wrong = [why for idea in self.wants for why in ideas.unknown(idea, switches("redirect"), switches("proxy"))]
        if wrong:
            raise Unfit("; ".join(wrong))
        redirect, proxy, route = ideas.words(self.on, "tls" if self.tls else "clear", switches("redirect"), switches("proxy"))
        self.redirect_flags, self.proxy_flags = tuple(redirect), tuple(proxy)
        way = {"peers": ["client/node"]} if self.tls else {"sources": ["10.71.0.10/32"]}
        routes = write_json(world.lab.path("routes.json"), {"node": "proxy/node", "routes": [
            {"id": "bench", "destination": f"{SERVER}:{HTTP_PORT}", **way, **route}]})
        self.rules = ("--routes", routes)
        super().start(world)


def _variants():
    made = {}
    for leg in ("tls", "clear"):
        fitting = [idea for idea in ideas.IDEAS if leg in ideas.legs(idea)]
        rows = [("off", "all off", (), ())]
        rows += [(idea.name, idea.title, (idea.name, *ideas.NEEDS.get(idea.name, ())), (idea,)) for idea in fitting if ideas.legs(idea)[0] == leg]
        together = [idea for idea in fitting if idea.name not in ideas.INSTEAD]
        but = "".join(f" but {idea.title}" for idea in fitting if idea not in together)
        rows += [("all", "all on" + but, tuple(idea.name for idea in together), ())]
        for name, title, on, wants in rows:
            made[f"{leg}-{name}"] = type("Competitor", (Variant,), {"title": f"{'TLS' if leg == 'tls' else 'clear'}: {title}", "on": on,
                                                                    "wants": wants, "tls": leg == "tls"})
    return made


RIVALS = _variants()
TITLES = {name: made.title for name, made in RIVALS.items()}


def steps(lengths, topologies, competitors):
    if "epif" not in competitors:
        return []
    rounds = LENGTHS[lengths.kind][-1]
    return [Step("ablation", name, topology, metric, r) for r in range(rounds) for metric, topology in METRICS.items() for name in RIVALS]


def seconds(step, lengths):
    requests, seconds_of_wrk, _ = LENGTHS[lengths.kind]
    if step.setting == "latency":
        return requests_s(requests, lengths.pause_s, step.topology)
    return seconds_of_wrk + lengths.transfer_s


def once(world, rival, step, lengths):
    requests, seconds, _ = LENGTHS[lengths.kind]
    if step.setting == "latency":
        return {"mean_ms": statistics.fmean(httping(world, rival.url, requests, lengths.pause_s))}
    return {**wrk(world, rival, CONNECTIONS, seconds, close=True), **curl(world, rival, lengths.file_mib, 2, seconds=lengths.transfer_s)}
