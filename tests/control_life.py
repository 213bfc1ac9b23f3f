#!/usr/bin/python3
"""The life of applications: from submit to bytes, revoked, crashed around, stopped. Topology in control_world.py."""
import os
import signal
import time

from control_world import CONSENT, DOMAINS, Echo, MEMBERS, World, application, exchange, refused
from lab import Failure, check, equal, promise, run, wait_until


def running(world):
    """imaging (treatment, port 4242) and study (research with consent, port 8042) run; both servers echo."""
    world.start()
    world.apply(DOMAINS + "---" + CONSENT)
    world.apply(application("imaging", "treatment", 4242) + "---" + application("study", "research", 8042))
    for port in (4242, 8042):
        Echo(world.host("research/pacs"), port)
    for name in ("imaging", "study"):
        world.wait_phase(name, "Running")
    return world


def data_plane(world):
    """Process ids of redirectors and proxies as the agents report them."""
    return {node: [p["pid"] for p in world.get("assignment", node)["status"]["processes"]] for node in MEMBERS}


@promise("submitted, an application passes the eight steps and an unmodified program gets through both proxies")
def submit_to_bytes():
    with World("control-submit") as world:
        running(world)
        status = world.status("imaging")
        equal([c["status"] for c in status["conditions"]], ["done"] * 8, "the eight steps")
        check(world.talks(4242), "no answer through the proxies")
        capture = world.hosts["wan"].capture("research", "src host 10.1.0.10")
        with world.connect(4242) as out:
            check(exchange(out), "no echo")
        equal(len(capture.stop().packets()), 0, "packets that the modality itself sent over the wan")
        equal(refused(world, 9999), "ConnectionResetError", "a port without a flow")


@promise("a revoked consent cuts its flow at both ends within a second, refuses new ones with the reason, and touches no other")
def revoked():
    with World("control-revoked") as world:
        running(world)
        with world.connect(8042) as study, world.connect(4242) as imaging:
            check(exchange(study) and exchange(imaging), "no echo before")
            study.settimeout(5)
            began = time.monotonic()
            world.client("delete", "consent", "p-0042")
            accepted = time.monotonic()
            try:
                check(study.recv(1) != b"", "the flow ended as if it were complete")
                raise Failure("the flow goes on")
            except OSError as error:
                check(not isinstance(error, TimeoutError), "the flow was not cut")
            took = time.monotonic() - began
            check(took < 1.0 + (accepted - began), f"cut after {took:.3f} s")
            print(f"      cut {took * 1000:.0f} ms after the command began, {(accepted - began) * 1000:.0f} ms of it the command itself")
            check(exchange(imaging), "the unrelated flow was touched")
            world.wait_phase("study", "Denied")
            check("research-needs-consent" in world.status("study")["reason"], world.status("study")["reason"])
            check(refused(world, 8042) in ("ConnectionResetError", "ConnectionRefusedError"), "a new connection got through")
            check(exchange(imaging), "the unrelated flow was touched later")
        world.apply(CONSENT)
        world.wait_phase("study", "Running")
        check(world.talks(8042), "the consent came back, the flow did not")


@promise("kill -9 of orchestrator and agents: running and new flows go on; after a restart the same processes, flows and state")
def crash():
    with World("control-crash") as world:
        running(world)
        before, pids = world.status("imaging"), data_plane(world)
        with world.connect(4242) as held:
            check(exchange(held), "no echo before")
            for victim in (world.orchestrator_process, *world.agents.values()):
                victim.kill()
            check(exchange(held), "the running flow broke")
            check(world.talks(4242), "no new flow with the control plane dead")
            world.start_orchestrator().start_agents()
            world.wait_phase("imaging", "Running")
            equal(data_plane(world), pids, "processes of the data plane")
            check(exchange(held), "the restart broke the running flow")
            check(world.talks(4242), "no new flow after the restart")
        equal(world.status("imaging"), before, "status after the restart")


@promise("a killed proxy or redirector is replaced by its agent, and nothing passes around it meanwhile")
def replaced():
    with World("control-replaced") as world:
        running(world)
        capture = world.hosts["wan"].capture("research", "src host 10.1.0.10")
        for node in ("umc/proxy", "umc/modality"):
            pid = data_plane(world)[node][0]
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: world.talks(4242), f"flows pass again after the kill of {node}", 10)
            check(data_plane(world)[node][0] != pid or wait_until(lambda: data_plane(world)[node][0] != pid, "a new process", 5), "")
        equal(len(capture.stop().packets()), 0, "packets of the modality itself on the wan")


@promise("a refusing domain, or a missing agent, is told in the status; nothing is installed")
def waits_and_refusals():
    with World("control-refusals") as world:
        world.init().start_orchestrator()
        world.apply(DOMAINS + "---" + application("imaging", "treatment", 4242))
        status = world.wait_phase("imaging", "PolicyChecked")
        check("authoriser" in status["reason"], status["reason"])
        world.start_agents()
        world.wait_phase("imaging", "Running")
        world.apply("apiVersion: epif/v1\nkind: Domain\nmetadata: {name: research}\nspec: {authoriser: {allow: [{purpose: [research]}]}}\n")
        status = world.wait_phase("imaging", "Denied")
        check("research" in status["reason"], status["reason"])


@promise("stop and a clean end leave nothing: no process, no rule, no route, and exit code 0")
def clean_end():
    with World("control-end") as world:
        running(world)
        pids = [pid for group in data_plane(world).values() for pid in group]
        world.client("stop", "study")
        world.wait_phase("study", "Stopped")
        check(refused(world, 8042) is not None, "a stopped application's flow is open")
        check(world.talks(4242), "the other application was stopped, too")
        for node, agent in world.agents.items():
            equal(agent.stop(within=20), 0, f"exit code of the agent of {node}")
        equal(world.orchestrator_process.stop(), 0, "exit code of the orchestrator")
        for pid in pids:
            check(not os.path.exists(f"/proc/{pid}"), f"process {pid} of the data plane lives")
        rules = world.host("umc/modality").run("nft", "list", "ruleset").stdout
        check("epif" not in rules, "rules are left:\n" + rules)
        for node in MEMBERS:
            left = sorted(os.listdir(world.state_of(node)))
            check(not {"routes.json", "admin.sock", "engine.sock"} & set(left), f"{node} keeps {left}")


run()
