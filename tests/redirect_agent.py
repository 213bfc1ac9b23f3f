#!/usr/bin/python3
"""An agent hands its redirector or proxy over to a new process. Topology in control_world.py."""
import contextlib
import os
import shutil
import signal
import subprocess

from control_world import CONSENT, DOMAINS, API, Echo, MEMBERS, World, application, exchange, refused
from lab import check, epif, equal, promise, run, wait_until

REDIRECTORS = ["umc/modality", "research/pacs"]


def start_agents(world, program, members, *flags, under=()):
    for node in members:
        world.agents[node] = world.host(node).start(*under, program, "agent", "--orchestrator", API, "--node", node, "--token-file", world.token_file,
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


def processes(world, node):
    return world.get("assignment", node)["status"].get("processes", [])


UNFIT = ["umc/modality", "umc/proxy"]


@contextlib.contextmanager
def broken_program(name):
    """Newer agents at two nodes, whose program for redirector and proxy is broken; flows pass meanwhile."""
    with World(name) as world:
        program = world.lab.path("bin", "epif")
        shutil.copy(epif(), program)
        world.init().start_orchestrator()
        start_agents(world, program, MEMBERS)
        world.apply(DOMAINS + "---" + CONSENT)
        world.apply(application("imaging", "treatment", 4242) + "---" + application("study", "research", 8042))
        for port in (4242, 8042):
            Echo(world.host("research/pacs"), port)
        for app in ("imaging", "study"):
            world.wait_phase(app, "Running")
        before = pids(world)
        with world.connect(4242) as held:
            check(exchange(held), "no echo before")
            for node in UNFIT:
                world.agents[node].kill()
            broken = world.lab.path("bin", "broken")
            with open(broken, "w", encoding="ascii") as file:
                file.write("#!/bin/sh\necho 'epif: this version is broken'\nexit 1\n")
            os.chmod(broken, 0o755)
            # In the agent's own mounts alone, so that it can be put right under it.
            start_agents(world, program, UNFIT, under=["unshare", "-m", "sh", "-c", f'exec 9<"$0"; mount --bind {broken} "$0"; exec /proc/self/fd/9 "$@"'])
            for node in UNFIT:
                wait_until(lambda: any("this version is broken" in p["reason"] for p in processes(world, node)), f"{node} says what is wrong", 30)
            yield world, before, held


def repair(world):
    for node in UNFIT:
        subprocess.run(["nsenter", "-t", str(world.agents[node].pid), "-m", "umount", world.lab.path("bin", "epif")], check=True)


@promise("a newer program that cannot serve costs no flow: the old processes go on and obey, the report says why, and once it can serve it takes over")
def unfit():
    with broken_program("agent-unfit") as (world, before, held):
        equal({p["state"] for node in UNFIT for p in processes(world, node)}, {"running"}, "states")
        equal(pids(world), before, "processes")
        check(exchange(held) and world.talks(4242), "flows do not pass")
        world.client("delete", "consent", "p-0042")
        wait_until(lambda: refused(world, 8042) in ("ConnectionResetError", "ConnectionRefusedError"), "the old processes follow what is withdrawn", 5)
        equal(pids(world), before, "processes after a revocation that they follow")
        repair(world)
        wait_until(lambda: (now := pids(world)) and all(now[node] != before[node] for node in UNFIT), "the successors serve", 60)
        equal({p["reason"] for node in UNFIT for p in processes(world, node)}, {""}, "troubles that are over")
        check(exchange(held) and world.talks(4242), "the hand-over broke a flow")


@promise("an old process that nothing replaces and that does not follow what is withdrawn is ended, and started anew")
def deaf():
    with broken_program("agent-deaf") as (world, before, _):
        [proxy] = before["umc/proxy"]
        os.kill(proxy, signal.SIGSTOP)
        world.client("delete", "consent", "p-0042")
        wait_until(lambda: is_gone(proxy), "the old proxy is ended", 40)
        repair(world)
        wait_until(lambda: world.talks(4242), "flows pass again", 40)
        check(pids(world)["umc/modality"] == before["umc/modality"] or not is_gone(before["umc/modality"][0]),
              "the redirector, which follows, was ended")


if __name__ == "__main__":
    run()
