#!/usr/bin/python3
"""An agent hands its redirector or proxy over to a new process. Topology in control_world.py."""
import os
import shutil

from control_world import CONSENT, DOMAINS, API, Echo, MEMBERS, World, application, exchange
from lab import check, epif, equal, promise, run, wait_until

REDIRECTORS = ["umc/modality", "research/pacs"]


def start_agents(world, program, members, *flags):
    for node in members:
        world.agents[node] = world.host(node).start(program, "agent", "--orchestrator", API, "--node", node, "--token-file", world.token_file,
                                                    "--state", world.state_of(node), *flags, name="agent")
    for node in members:
        world.agents[node].wait_for_log("connected to the orchestrator", within=20)


def pids(world):
    """Process ids of redirectors and proxies as the agents report them; empty while one does not run."""
    found = {node: [p["pid"] for p in world.get("assignment", node)["status"].get("processes", []) if p["state"] == "running"] for node in MEMBERS}
    return found if all(found.values()) else {}


def is_gone(pid):
    """Ended; a child that nobody has waited for counts as well."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@promise("agents that come back with another version of the program, or other options, hand over without a lost flow or a packet past them")
def handed_over():
    with World("agent-takeover") as world:
        program = world.lab.path("bin", "epif")
        shutil.copy(epif(), program)
        world.init().start_orchestrator()
        start_agents(world, program, MEMBERS)
        world.apply(DOMAINS + "---" + CONSENT)
        world.apply(application("imaging", "treatment", 4242))
        Echo(world.host("research/pacs"), 4242)
        world.wait_phase("imaging", "Running")
        capture = world.hosts["wan"].capture("research", "src host 10.1.0.10")
        replaced = []

        def come_back(members, *flags):
            before = pids(world)
            for node in members:
                world.agents[node].kill()
            if not flags:
                shutil.copy(epif(), program + ".new")
                os.replace(program + ".new", program)
            start_agents(world, program, members, *flags)
            wait_until(lambda: (now := pids(world)) and all((now[node] != before[node]) == (node in members) for node in MEMBERS),
                       f"new processes at {list(members)} alone", 30)
            # A proxy waits for the warm connections of its clients as well, which may take a minute.
            replaced.extend(pid for node in members if node in REDIRECTORS for pid in before[node])
            check(exchange(held), "the hand-over broke the running flow")
            check(world.talks(4242), "no new flow after the hand-over")
        with world.connect(4242) as held:
            check(exchange(held), "no echo before")
            come_back(MEMBERS)
            come_back(REDIRECTORS, "--mptcp")
            equal(len(capture.stop().packets()), 0, "packets of the modality itself on the wan")
        wait_until(lambda: all(is_gone(pid) for pid in replaced), "the old processes have ended", 20)
        for pid in pids(world)["umc/modality"]:
            with open(f"/proc/{pid}/cmdline", encoding="ascii") as file:
                check("--mptcp" in file.read().split("\0"), f"process {pid} has the old options")


if __name__ == "__main__":
    run()
