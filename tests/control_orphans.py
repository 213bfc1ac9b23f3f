#!/usr/bin/python3
"""What the bridging functions of a proxy hold after its death. Topology in control_world.py."""
import contextlib
import os
import shutil
import signal
import subprocess
import time

from control_world import API, DOMAINS, MEMBERS, World, application
from lab import Service, check, echo, epif, promise, run, wait_until

PROXY = "research/proxy"


def passes(out):
    """Whether something comes back. The function drops what was read before its start, so one word may not be enough."""
    out.settimeout(0.2)
    for _ in range(20):
        out.sendall(b"hello")
        with contextlib.suppress(TimeoutError):
            return out.recv(100) != b""
    return False


def talks(world):
    try:
        with world.connect(4242) as out:
            return passes(out)
    except OSError:
        return False


def parts(world, kind):
    return {one["name"]: one["pid"] for one in world.get("assignment", PROXY)["status"].get(kind, []) if one["state"] == "running"}


def start(world):
    """Every agent takes for the built-in functions one that hears nobody once it carries a flow; it runs beside the server."""
    program = world.lab.path("bin", "epif")
    shutil.copy(epif(), program)
    shutil.copy(os.path.join(os.path.dirname(epif()), "hostile-bf"), world.lab.path("bin", "epif-bf"))
    image = subprocess.run([program, "bf", "image"], capture_output=True, text=True, check=True).stdout.strip()
    world.init().start_orchestrator()
    for node in MEMBERS:
        world.agents[node] = world.host(node).start(program, "agent", "--orchestrator", API, "--node", node, "--token-file", world.token_file,
                                                    "--state", world.state_of(node), name="agent")
    stronger = DOMAINS.replace("addresses: [10.1.0.10]", "addresses: [10.1.0.10], attributes: [audit]")
    function = f"""
apiVersion: epif/v1
kind: BridgingFunction
metadata: {{name: deaf}}
spec: {{provides: [audit], image: "{image}", trust: platform, place: destination, cost: {{setup: 3ms}}}}
"""
    world.apply(stronger + "---" + function + "---" + application("imaging", "treatment", 4242))
    return program


@promise("a proxy that dies takes its functions along, those that hear nobody as well: they are killed before another serves, no server's connection outlives it, and flows pass again within 5 s")
def orphans():
    with World("control-orphans") as world:
        start(world)
        ended = []

        def serve(connection):
            try:
                echo(connection)
            except OSError:
                pass
            ended.append(time.monotonic())
        Service(world.host("research/pacs").listen(4242), serve)
        world.wait_phase("imaging", "Running", within=60)
        for _ in range(2):  # the second time the functions are those that replaced the first
            with world.connect(4242) as held:
                check(passes(held), "no echo through the function")
                ended.clear()
                [proxy], [function] = parts(world, "processes").values(), parts(world, "instances").values()
                began = time.monotonic()
                os.kill(proxy, signal.SIGKILL)
                wait_until(lambda: ended, "the server hears that its connection ended", 5)
                check(not os.path.exists(f"/proc/{function}") or open(f"/proc/{function}/stat", encoding="ascii").read().split()[2] == "Z",
                      "the function lives")
                wait_until(lambda: talks(world), "flows pass again", 10)
                took = time.monotonic() - began
                check(took < 5, f"flows pass again after {took:.1f} s")
                print(f"      the server heard it after {ended[0] - began:.2f} s, flows pass after {took:.2f} s")
                wait_until(lambda: parts(world, "processes") and parts(world, "instances"), "a report of what runs", 10)
                check(function not in parts(world, "instances").values() and proxy not in parts(world, "processes").values(), "nothing was replaced")


def come_back(world, program, *flags):
    world.agents[PROXY] = world.host(PROXY).start(program, "agent", "--orchestrator", API, "--node", PROXY, "--token-file", world.token_file,
                                                  "--state", world.state_of(PROXY), *flags, name="agent")


@promise("the same if proxy and agent die together, and the agent comes back")
def orphans_of_both():
    with World("control-orphans2") as world:
        program = start(world)
        Service(world.host("research/pacs").listen(4242), echo)
        world.wait_phase("imaging", "Running", within=60)
        with world.connect(4242) as held:
            check(passes(held), "no echo through the function")
            [proxy], [function] = parts(world, "processes").values(), parts(world, "instances").values()
            world.agents[PROXY].kill()
            os.kill(proxy, signal.SIGKILL)
            check(os.path.exists(f"/proc/{function}"), "the function should have outlived both")
            come_back(world, program)
            wait_until(lambda: talks(world), "flows pass again", 20)
            check(not os.path.exists(f"/proc/{function}"), "the function of the dead proxy lives")


@promise("the same if the agent has to end its proxy, which is to speak MPTCP from now on")
def ended_for_mptcp():
    with World("control-orphans3") as world:
        program = start(world)
        Service(world.host("research/pacs").listen(4242), echo)
        world.wait_phase("imaging", "Running", within=60)
        with world.connect(4242) as held:
            check(passes(held), "no echo through the function")
            [proxy], [function] = parts(world, "processes").values(), parts(world, "instances").values()
            world.agents[PROXY].kill()
            come_back(world, program, "--mptcp")
            wait_until(lambda: not os.path.exists(f"/proc/{proxy}"), "the proxy without MPTCP has ended", 20)
            wait_until(lambda: talks(world), "flows pass again", 20)
            check(not os.path.exists(f"/proc/{function}"), "the function of the proxy that was ended lives")


if __name__ == "__main__":
    run()
