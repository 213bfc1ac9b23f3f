"""0 to 8 bridging functions in a chain: what each costs. They run in containers, made by the product's own code (bf_containers).

    client: redirector ══ TLS ══ near proxy [f f f] ══ server              one function, repeated
                                 near [encrypt e] ══ TLS ══ far [decrypt d] ══ server    pairs over two proxies"""
import base64
import dataclasses
import json
import os
import statistics
import subprocess
import weakref

from campaign import Step
from lab import write_json
from priority import first_in_line, new_ones_first_in_line
from world import HTTP_PORT, PROXY, SERVER, epif

from .latency import httping, requests_s
from .rate import wrk
from .throughput import curl

TITLE = "Chains of bridging functions"
PLACE = 50
SETTING = "functions"
COLUMNS = {"setup_ms": "one request on a new connection, median, ms", "rate": "kept alive, requests/s",
           "cpu_us": "CPU of proxies and functions, µs a request", "mbit_s": "large file, Mbit/s",
           "cpu_s_gib": "CPU of proxies and functions, s per GiB"}
NOTE = ("Each function in a container of its own. Legs under mutual TLS and streams as socket pairs, which the proxies pump; \"trusted\" is the "
        "leg in clear with the TCP sockets themselves handed over. Pairs take a second proxy, in front of the server: their 0 is two proxies "
        "without functions. Kept alive: 16 connections.")
NEEDS = ("podman", "runc")
STARTS = True
TITLES = {"passthrough": "pass-through", "passthrough_trusted": "pass-through, trusted, in clear", "audit": "audit", "dpi": "DPI",
          "pair": "encrypt + decrypt"}
FAR = "10.72.0.20"
CONTAINER_S = 0.3  # to start one, and to take it down at the run's end
PATIENCE_S = 120  # for dozens of containers to come or go


@dataclasses.dataclass(frozen=True)
class Size:
    settings: dict  # {kind: numbers of functions}
    requests: int
    pause_s: float
    seconds: int        # of wrk
    transfer_s: float   # of a large file
    rounds: int


SINGLE = (0, 1, 2, 4, 8)
LONG = {"passthrough": SINGLE, "passthrough_trusted": SINGLE, "audit": SINGLE, "dpi": SINGLE, "pair": (0, 2, 4, 8)}
SIZES = {"quick": Size({"audit": (0, 1, 8), "dpi": (1,), "pair": (0, 2)}, 20, 0.002, 1, 0.5, 1),
         "full": Size(LONG, 100, 0.02, 3, 3, 3), "paper": Size(LONG, 120, 1.0, 60, 30, 5)}


def steps(lengths, topologies, competitors):
    if "epif" not in competitors:
        return []
    size, there = SIZES[lengths.kind], built_in()
    return [Step("chain", kind, "", n, r) for r in range(size.rounds) for kind, numbers in size.settings.items()
            for n in numbers if kind in there or kind in ("passthrough_trusted", "pair")]


def built_in():
    said = subprocess.run([epif(), "bf", "list"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in said.splitlines()[1:]]


def remarks(measured):
    return [] if "dpi" in measured.titles else ["A function that inspects packets (DPI) is not built into the program, so it was not measured."]


def seconds(step, lengths):
    size = SIZES[lengths.kind]
    steps_of_a_run = sum(map(len, size.settings.values()))
    return (requests_s(size.requests, size.pause_s, "") + size.seconds + size.transfer_s
            + CONTAINER_S * sum(map(max, size.settings.values())) / steps_of_a_run)


def once(world, rival, step, lengths):
    size = SIZES[lengths.kind]
    rival.start(world, step.setting, size)
    times = httping(world, rival.url, size.requests, size.pause_s)
    kept = wrk(world, rival, 16, size.seconds, close=False)
    large = curl(world, rival, lengths.file_mib, 1, seconds=size.transfer_s)
    return {"setup_ms": statistics.median(times), "setup_stdev_ms": statistics.pstdev(times), "rate": kept["rate"], "cpu_us": kept["cpu_us"],
            "mbit_s": large["mbit_s"], "cpu_s_gib": large["cpu_s_gib"]}


class Contained:
    """A function's process, for the count of CPU; it lives as long as the world."""

    def __init__(self, name, pid):
        self.name, self.pid = name, pid

    def stop(self):
        pass


_containers = weakref.WeakKeyDictionary()  # world: {name: link of a route}


def containers(world, size):
    """All functions that this world's steps need, started once: they serve one proxy after the other, as in the product."""
    if world not in _containers:
        most = {kind: max(numbers) for kind, numbers in size.settings.items() if kind in TITLES}
        words = [f"{kind}-{i}={kind}" for kind in built_in() for i in range(most.get(kind, 0))]
        words += [f"trusted-{i}=passthrough,trusted" for i in range(most.get("passthrough_trusted", 0))]
        words += [f"{half}-{i}={half}" for half in ("encrypt", "decrypt") for i in range(most.get("pair", 0) // 2)]
        process = world.proxy.start(os.path.join(os.path.dirname(epif()), "bf_containers"), world.lab.path("functions", "x")[:-2], *words)
        world.lab.at_end(lambda: process.stop(within=PATIENCE_S))  # killed before its end it would leave containers
        with new_ones_first_in_line([world.proxy]):
            process.wait_for_log('{"ready": true}', within=PATIENCE_S)
        found = [json.loads(line) for line in process.output().splitlines() if line.startswith("{")]
        _containers[world] = {one["name"]: one for one in found if "name" in one}
        for one in _containers[world].values():
            first_in_line(one["peer_pid"])
    return _containers[world]


def link(container, **more):
    return {"function": container["function"], "instance": container["name"], "socket": container["socket"],
            "peer_pid": container["peer_pid"], "trusted": container["trusted"], **more}


class Chain:
    """Redirector, near proxy with `number` functions of a kind; stop() ends all but the containers."""
    kind = name = ""
    url = f"http://{SERVER}/"
    tls = True

    def __init__(self):
        self.processes = []

    def start(self, world, number, size):
        self.world, self.there = world, containers(world, size)
        self.files = world.certificates("client/node", "proxy/node", "far/node") if self.tls else {}
        self.serve(number)
        port = 1083 if self.tls else 1080
        redirect = self.run(world.client, "redirect", "--proxy", f"{PROXY}:{port}", "--capture", f"{SERVER}:{HTTP_PORT}", "--state",
                            world.lab.state, *self.identity("client/node"))
        redirect.wait_for_log("captures")

    def serve(self, number):
        self.proxy(self.world.proxy, "proxy/node", PROXY, {"peers": ["client/node"]}, self.take(self.name, number))

    def take(self, name, number, **more):
        """Links of the first `number` containers called `name`, and their share in the count of CPU."""
        chosen = [self.there[f"{name}-{i}"] for i in range(number)]
        self.processes += [Contained(one["name"], one["peer_pid"]) for one in chosen]
        return [link(one, **{key: f"{value}{i}" for key, value in more.items()}) for i, one in enumerate(chosen)]

    def proxy(self, host, name, address, admits, chain, **more):
        stem, port = name.replace("/", "-"), 1083 if self.tls else 1080
        routes = write_json(self.world.lab.path(stem + ".json"), {"node": name, "routes": [
            {"id": "bench", "destination": f"{SERVER}:{HTTP_PORT}", "purpose": "bench", "chain": chain, **admits, **more}]})
        secret = self.world.lab.path(stem + ".key")
        keys = ["--hpke-key", secret] if os.path.exists(secret) else []
        self.run(host, "proxy", "--tls-listen" if self.tls else "--listen", f"{address}:{port}", "--routes", routes,
                 *self.identity(name), *keys).wait_for_log("proxy ready ")

    def identity(self, name):
        return [word for pair in zip(("--cert", "--key", "--ca"), self.files[name]) for word in pair] if self.tls else []

    def run(self, host, role, *words):
        process = host.start(epif(), role, *words, name=f"epif-{role}")
        self.processes.append(process)
        return process

    def stop(self, world):
        for process in reversed(self.processes):
            process.stop()
        self.processes = []


class PassThrough(Chain):
    name = "passthrough"


class Trusted(Chain):
    name, tls = "trusted", False

    def serve(self, number):
        self.proxy(self.world.proxy, "proxy/node", PROXY, {"sources": ["0.0.0.0/0"]}, self.take(self.name, number))


class Audit(Chain):
    name = "audit"


class Dpi(Chain):
    name = "dpi"


class Pair(Chain):
    """The bytes between the proxies are sealed once for each pair; the key of each connection comes from the proxies."""

    def serve(self, number):
        world = self.world
        public = {name: x25519(world.lab.path(name.replace("/", "-") + ".key")) for name in ("proxy/node", "far/node")}
        near, far = (self.take(half, number // 2, key_pair="pair") for half in ("encrypt", "decrypt"))
        self.proxy(world.server, "far/node", FAR, {"peers": ["proxy/node"], "peer_keys": {"proxy/node": public["proxy/node"]}}, far[::-1])
        self.proxy(world.proxy, "proxy/node", PROXY, {"peers": ["client/node"]}, near,
                   next={"proxy": f"{FAR}:1083", "identity": "far/node", "public_key": public["far/node"]})


def x25519(path):
    """Writes a new secret, base64, to `path`; returns the public half."""
    secret = subprocess.run(["openssl", "genpkey", "-algorithm", "X25519", "-outform", "DER"], capture_output=True, check=True).stdout
    public = subprocess.run(["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"], input=secret, capture_output=True,
                            check=True).stdout
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(base64.b64encode(secret[-32:]).decode() + "\n")
    return base64.b64encode(public[-32:]).decode()


RIVALS = {"passthrough": PassThrough, "passthrough_trusted": Trusted, "audit": Audit, "dpi": Dpi, "pair": Pair}
