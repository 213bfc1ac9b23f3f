#!/usr/bin/python3
"""Bridging functions under the control plane: containers of the proxy nodes. Topology in control_world.py."""
import json
import os
import signal
import subprocess
import time

from control_world import DOMAINS, Echo, World, application, exchange, refused
from lab import Failure, check, epif, equal, promise, run, wait_until

PROXIES = ("umc/proxy", "research/proxy")


def functions(image):
    return "---".join(f"""
apiVersion: epif/v1
kind: BridgingFunction
metadata: {{name: {name}}}
spec: {{provides: [{provides}], image: "{image}", trust: platform, cost: {{setup: 3ms}}{more}}}
""" for name, provides, more in (("audit", "audit", ""), ("encrypt", "encryption", ", pair: decrypt"), ("decrypt", "", "")))


def built_in_image():
    return subprocess.run([epif(), "bf", "image"], capture_output=True, text=True, check=True).stdout.strip()


def start(world, image):
    world.start()
    stronger = DOMAINS.replace("addresses: [10.1.0.10]", "addresses: [10.1.0.10], attributes: [audit, encryption]")
    world.apply(stronger + "---" + functions(image) + "---" + application("imaging", "treatment", 4242).replace("both", "push"))
    Echo(world.host("research/pacs"), 4242)


def instances(world, proxy):
    return {one["name"]: one for one in world.get("assignment", proxy)["status"]["instances"]}


@promise("a chain over two proxies runs in containers; a killed function closes its flows and is replaced within 5 s; a crash of all agents touches none; a clean stop removes them")
def chain():
    with World("control-chain") as world:
        start(world, built_in_image())
        status = world.wait_phase("imaging", "Running", within=60)
        chain = status["flows"][0]["chain"]
        check({"audit", "encrypt", "decrypt"} == set(chain), f"chain {chain}")
        with world.connect(4242) as held:
            check(exchange(held), "no echo through the chain")
            victim = instances(world, "umc/proxy")["encrypt"]["pid"]
            began = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            held.settimeout(5)
            try:
                held.sendall(b"more")
                check(held.recv(1) != b"", "the flow ended as if it were complete")
                raise Failure("the flow goes on without its function")
            except OSError:
                pass
        wait_until(lambda: world.talks(4242), "flows pass again", 10)
        took = time.monotonic() - began
        check(took < 5, f"replaced after {took:.1f} s")
        print(f"      flows pass {took:.2f} s after the kill")
        world.wait_phase("imaging", "Running")
        before = {proxy: instances(world, proxy) for proxy in PROXIES}
        with world.connect(4242) as held:
            check(exchange(held), "no echo")
            for victim in (world.orchestrator_process, *world.agents.values()):
                victim.kill()
            world.start_orchestrator().start_agents()
            world.wait_phase("imaging", "Running")
            check(before == {proxy: instances(world, proxy) for proxy in PROXIES}, "functions were not adopted")
            check(exchange(held), "the crash of the agents broke the flow")
        for node, agent in world.agents.items():
            check(agent.stop(within=60) == 0, f"the agent of {node} did not end well:\n{agent.tail()}")
        for proxy in PROXIES:
            for one in before[proxy].values():
                check(not os.path.exists(f"/proc/{one['pid']}"), f"{one['name']} of {proxy} lives")
        mounts = open("/proc/mounts", encoding="utf-8").read()
        check(world.lab.state not in mounts, "engine storage is still mounted")


@promise("an agent that crashed while functions were replaced takes none of the old ones for the new: with trust given, no route calls a process trusted that was started without it")
def replaced_after_crash():
    with World("control-trust") as world:
        image = built_in_image()
        start(world, image)
        world.apply(functions(image).replace("trust: platform, ", ""))
        world.wait_phase("imaging", "Running", within=60)
        state = world.state_of("umc/proxy")

        def read(name):
            with open(f"{state}/{name}", encoding="utf-8") as file:
                return json.load(file)

        def trusted():
            return [one["trusted"] for one in read("assignment.json")["assignment"]["instances"]]

        wait_until(lambda: trusted() == [False, False] and world.talks(4242), "untrusted functions run", 30)
        before = {one["pid"] for one in instances(world, "umc/proxy").values()}
        equal(len(before), 2, "functions of the proxy")
        world.apply(functions(image))
        wait_until(lambda: trusted() == [True, True], "the new wish is saved", 10)
        world.agents["umc/proxy"].kill()
        world.start_agent("umc/proxy")

        def links():
            out = [link for route in read("routes.json")["routes"] for link in route.get("chain", []) if link.get("peer_pid")]
            wrong = [link for link in out if link["peer_pid"] in before and link.get("trusted")]
            check(not wrong, f"a process of before is called trusted: {wrong}")
            return out

        wait_until(lambda: len(links()) >= 2 and all(link.get("trusted") for link in links()) and world.talks(4242), "flows pass through trusted functions", 60)
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in before), "the untrusted ones are gone", 10)
        after = {one["pid"] for one in wait_until(lambda: instances(world, "umc/proxy"), "a report", 10).values()}
        check(not before & after, f"{before} before, {after} after")


@promise("an image that is not there fails the application with one message; nothing is installed; with the image it runs")
def missing_image():
    with World("control-image") as world:
        start(world, "localhost/nowhere@sha256:" + "0" * 64)
        status = world.wait_phase("imaging", "Failed", within=60)
        check("image is not there" in status["reason"] and "provisioner" in status["reason"], status["reason"])
        check(refused(world, 4242) is not None, "the flow is open")
        check(not world.get("assignment", "umc/proxy")["spec"]["instances"], "functions are installed")
        world.apply(functions(built_in_image()))
        world.wait_phase("imaging", "Running", within=60)
        check(world.talks(4242), "no echo")


run()
