#!/usr/bin/python3
"""Names of remote nodes whose private addresses overlap. The topology of control_world.py, and a vendor:
   archive 10.2.0.10 ── 10.2.0.2 vendor-proxy 10.3.0.2 ── wan"""
import control_world
from control_world import DOMAINS, World, application, exchange
from lab import Service, check, epif, equal, promise, run, wait_until
from redirect_questions import resolve

control_world.MEMBERS["vendor/proxy"] = "vendor-proxy"
SHARED, RANGE = "10.2.0.10", "198.18.0.0/15"
NAMED = DOMAINS.replace(f"addresses: [{SHARED}], proxy: proxy", f"addresses: [{SHARED}], hostname: pacs.example, proxy: proxy")
VENDOR = NAMED + f"""
---
apiVersion: epif/v1
kind: Domain
metadata: {{name: vendor}}
spec: {{}}
---
apiVersion: epif/v1
kind: ProxyNode
metadata: {{name: proxy, domain: vendor}}
spec: {{addresses: [10.3.0.2]}}
---
apiVersion: epif/v1
kind: Node
metadata: {{name: archive, domain: vendor}}
spec: {{addresses: [{SHARED}], hostname: archive.example, proxy: proxy}}
"""


class Overlap(World):
    def build(self):
        super().build()
        lab = self.lab
        proxy, archive = lab.node("vendor-proxy"), lab.node("archive")
        lab.link(proxy, "10.3.0.2/24", self.hosts["wan"], "10.3.0.1/24")
        lab.link(proxy, "10.2.0.2/24", archive, f"{SHARED}/24")
        self.hosts |= {"vendor-proxy": proxy, "archive": archive}

    def start_orchestrator(self):
        host = self.hosts["orchestrator"]
        self.orchestrator_process = host.start(epif(), "orchestrator", "run", "--dir", self.folder, "--listen", "10.9.0.7:7443", "--alias-range", RANGE,
                                               name="orchestrator")
        host.wait_for_port(7443, within=20, process=self.orchestrator_process)
        return self


def names(word):
    """A server that says who it is, then echoes."""
    def serve(peer):
        peer.sendall(word)
        while data := peer.recv(65536):
            peer.sendall(data)
    return serve


def aliases(world, wanted):
    """The one address of each name, where its own server has answered."""
    found = {}
    modality = world.host("umc/modality")
    for name, word in wanted.items():
        code, addresses = resolve(modality, name)
        equal((code, len(addresses)), (0, 1), f"the answer to {name}: {addresses}")
        found[name] = addresses[0]
        check(addresses[0].startswith(("198.18.", "198.19.")), f"{addresses[0]} is not of the range")
        with modality.connect(addresses[0], 4242) as out:
            equal(out.recv(4), word, f"who answers as {name}")
            check(exchange(out), "no echo")
    return found


def restart(world):
    """The orchestrator is killed, comes back, and has applied something since."""
    world.orchestrator_process.kill()
    world.start_orchestrator()
    world.apply(application("late", "treatment", 4243))
    world.wait_phase("late", "Running")


def can_connect(node, address):
    try:
        with node.connect(address, 4242) as out:
            return bool(out.recv(1))
    except OSError:
        return False


@promise("a named node of another domain has an address from the range, which keeps its meaning over a restart and is refused with its route gone")
def named():
    with Overlap("control-named") as world:
        world.start()
        world.apply(NAMED)
        world.apply(application("imaging", "treatment", 4242))
        with Service(world.host("research/pacs").listen(4242), names(b"pacs")):
            world.wait_phase("imaging", "Running")
            before = aliases(world, {"pacs.example": b"pacs"})
            check(not can_connect(world.host("umc/modality"), SHARED), "its own address is an alias, too")
            restart(world)
            equal(aliases(world, {"pacs.example": b"pacs"}), before, "the address of the name after a restart of the orchestrator")
            world.client("stop", "imaging")
            capture = world.hosts["wan"].capture("umc", f"net {RANGE}")
            wait_until(lambda: not can_connect(world.host("umc/modality"), before["pacs.example"]), "the address of a withdrawn name is refused")
            equal(capture.stop().packets(), [], "packets to the range on the wan")


@promise("nodes of two domains with one address are told apart by their names")
def told_apart():
    with Overlap("control-overlap") as world:
        world.start()
        world.apply(VENDOR)
        world.apply(application("imaging", "treatment", 4242) + "---" +
                    application("archiving", "treatment", 4242).replace("research/pacs", "vendor/archive"))
        with Service(world.host("research/pacs").listen(4242), names(b"pacs")), Service(world.hosts["archive"].listen(4242), names(b"arch")):
            for name in ("imaging", "archiving"):
                world.wait_phase(name, "Running")
            both = {"pacs.example": b"pacs", "archive.example": b"arch"}
            before = aliases(world, both)
            equal(len(set(before.values())), 2, "addresses of two names")
            restart(world)
            equal(aliases(world, both), before, "the addresses after a restart of the orchestrator")
            check(not can_connect(world.host("umc/modality"), SHARED), "the shared address leads somewhere")


run()
