#!/usr/bin/python3
"""Names of remote nodes, with addresses from a range of the orchestrator's. The topology of control_world.py."""
from control_world import DOMAINS, World, application, exchange
from lab import Service, check, epif, equal, promise, run, wait_until
from redirect_questions import resolve

OWN, RANGE = "10.2.0.10", "198.18.0.0/15"
NAMED = DOMAINS.replace(f"addresses: [{OWN}], proxy: proxy", f"addresses: [{OWN}], hostname: pacs.example, proxy: proxy")


class Named(World):
    def __init__(self, name, alias_range=RANGE):
        super().__init__(name)
        self.alias_range = alias_range

    def start_orchestrator(self):
        host = self.hosts["orchestrator"]
        self.orchestrator_process = host.start(epif(), "orchestrator", "run", "--dir", self.folder, "--listen", "10.9.0.7:7443", "--alias-range",
                                               self.alias_range, name="orchestrator")
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


@promise("a node's name means an address from the range, which keeps its meaning over a restart, and is refused and no other name's afterwards")
def named():
    with Named("control-named") as world:
        world.start()
        world.apply(NAMED)
        world.apply(application("imaging", "treatment", 4242))
        with Service(world.host("research/pacs").listen(4242), names(b"pacs")):
            world.wait_phase("imaging", "Running")
            before = aliases(world, {"pacs.example": b"pacs"})
            check(not can_connect(world.host("umc/modality"), OWN), "its own address is an alias, too")
            restart(world)
            equal(aliases(world, {"pacs.example": b"pacs"}), before, "the address of the name after a restart of the orchestrator")
            world.client("stop", "imaging")
            capture = world.hosts["wan"].capture("umc", f"net {RANGE}")
            wait_until(lambda: not can_connect(world.host("umc/modality"), before["pacs.example"]), "the address of a withdrawn name is refused")
            equal(capture.stop().packets(), [], "packets to the range on the wan")
            world.client("stop", "late")
            wait_until(lambda: resolve(world.host("umc/modality"), "pacs.example") == (0, []), "the name has no address while that rests")
            trace = world.host("umc/modality").run(epif(), "trace", f"{before['pacs.example']}:4242", "--agent",
                                                   world.state_of("umc/modality"), check=False)
            equal(trace.returncode, 3, "exit code of trace")
            check("pacs.example had this address" in trace.stdout, trace.stdout)
            world.orchestrator_process.kill()
            world.start_orchestrator()
            world.apply(NAMED.replace("hostname: pacs.example", "hostname: other.example"))
            world.apply(application("imaging", "treatment", 4242).replace("name: imaging", "name: next"))
            world.wait_phase("next", "Running")
            after = aliases(world, {"other.example": b"pacs"})
            check(after["other.example"] != before["pacs.example"], "another name has the address that rests")
            check(not can_connect(world.host("umc/modality"), before["pacs.example"]), "the address that rests")


INSIDE = """apiVersion: epif/v1
kind: Node
metadata: {name: inside, domain: vendor}
spec: {addresses: [198.19.0.7]}
"""


@promise("a machine that is put into the alias range opens none of it, and an application that leads there says why not")
def inside():
    with Named("control-inside") as world:
        world.start()
        world.apply(NAMED)
        world.apply(application("imaging", "treatment", 4242))
        with Service(world.host("research/pacs").listen(4242), names(b"pacs")):
            world.wait_phase("imaging", "Running")
            before = aliases(world, {"pacs.example": b"pacs"})
            world.apply(INSIDE)
            world.apply(application("there", "treatment", 4244).replace("to: research/pacs", "to: vendor/inside"))
            world.wait_phase("there", "Failed")
            check("those of the alias range 198.18.0.0/15 mean names" in world.client("status", "there").stdout, "no reason")
            equal(aliases(world, {"pacs.example": b"pacs"}), before, "the address of the name")
            world.client("stop", "imaging")
            capture = world.hosts["wan"].capture("umc", f"net {RANGE}")
            wait_until(lambda: not can_connect(world.host("umc/modality"), before["pacs.example"]), "the address of a withdrawn name is refused")
            check(not can_connect(world.host("umc/modality"), "198.19.0.7"), "the machine in the range")
            equal(capture.stop().packets(), [], "packets to the range on the wan")


@promise("a name keeps no address of a range that was given up, for a machine may have that later")
def given_up():
    with Named("control-given-up") as world:  # while the agent is away
        world.start()
        world.apply(NAMED)
        world.apply(application("imaging", "treatment", 4242))
        with Service(world.host("research/pacs").listen(4242), names(b"pacs")):
            world.wait_phase("imaging", "Running")
            before = aliases(world, {"pacs.example": b"pacs"})["pacs.example"]
            world.agents["umc/modality"].kill()
            world.client("stop", "imaging")
            world.wait_phase("imaging", "Stopping")
            world.orchestrator_process.kill()
            World.start_orchestrator(world)
            check(resolve(world.host("umc/modality"), "pacs.example") == (0, [before]), "the redirector did not go on")
            world.start_agent("umc/modality")
            wait_until(lambda: resolve(world.host("umc/modality"), "pacs.example") == (0, []), "the name has no address")
            check(not can_connect(world.host("umc/modality"), before), "the address that rests")


SECOND = """---
apiVersion: epif/v1
kind: Node
metadata: {name: second, domain: research}
spec: {addresses: [10.2.0.11], hostname: second.example, proxy: proxy}
"""


@promise("a node that is removed and applied again knows which addresses its programs may have, and where none is left an application fails and says why")
def again():
    with Named("control-again", "198.18.0.0/30") as world:  # two names
        world.start()
        world.apply(NAMED)
        world.apply(application("imaging", "treatment", 4242))
        with Service(world.host("research/pacs").listen(4242), names(b"pacs")):
            world.wait_phase("imaging", "Running")
            before = aliases(world, {"pacs.example": b"pacs"})["pacs.example"]
            world.client("delete", "application", "imaging")
            world.client("delete", "node", "umc/modality")
            wait_until(lambda: world.get("assignment", "umc/modality")["spec"]["role"] == "removed", "the removal is noted")
            world.orchestrator_process.kill()
            world.start_orchestrator()
            world.apply(NAMED.replace("hostname: pacs.example", "hostname: other.example") + SECOND)
            world.apply(application("next", "treatment", 4242))
            world.wait_phase("next", "Running")
            after = aliases(world, {"other.example": b"pacs"})
            check(after["other.example"] != before, "another name has the address that rests")
            check(not can_connect(world.host("umc/modality"), before), "the address that rests")
            trace = world.host("umc/modality").run(epif(), "trace", f"{before}:4242", "--agent", world.state_of("umc/modality"), check=False)
            check("pacs.example had this address" in trace.stdout, trace.stdout)
            world.apply(application("more", "treatment", 4243).replace("to: research/pacs", "to: research/second"))
            world.wait_phase("more", "Failed")
            said = world.client("status", "more").stdout
            check("no alias is left for second.example: of the 2 addresses of 198.18.0.0/30, 1 are in use and 1 rest" in said, said)
            check("a wider --alias-range, or wait: one is free at" in said, said)
            equal(world.status("next")["phase"], "Running", "the application that had one")


run()
