#!/usr/bin/python3
"""The NGINX method under the control plane: planned, told, installed by the agents, revoked, taken down. Topology in control_world.py."""
import os
import re
import signal
import time

from control_world import CONSENT, DOMAINS, Echo, World, exchange, is_cut, read_only, refused
from lab import Failure, check, equal, promise, run, wait_until

PROXY, CLIENT = "umc/proxy", "umc/modality"


def application(name, purpose, port, more):
    return f"""
apiVersion: epif/v1
kind: Application
metadata: {{name: {name}}}
spec:
  purpose: {purpose}
  flows:
    - {{name: send, from: umc/modality, to: research/pacs, port: {port}, {more}}}
"""


def running(world):
    """fast (time-critical, port 4242), study (HTTP, with consent, port 8042) and slow (port 5000, by SOCKS) run; all servers echo."""
    world.start()
    world.apply(DOMAINS + "---" + CONSENT)
    world.apply(application("fast", "treatment", 4242, "profile: time-critical") + "---" +
                application("study", "research", 8042, "method: nginx") + "---" + application("slow", "treatment", 5000, "data: push"))
    for port in (4242, 8042, 5000):
        Echo(world.host("research/pacs"), port)
    for name in ("fast", "study", "slow"):
        world.wait_phase(name, "Running")
    return world


def method_of(world, name):
    flow = world.status(name)["flows"][0]
    return flow["method"], flow["reason"]


def ports(world):
    """{flow: port of NGINX} as the proxy's assignment has it."""
    routes = world.get("assignment", PROXY)["spec"]["routes"]["routes"]
    return {route["flow"]: route["nginx"]["listen"] for route in routes if "nginx" in route}


def nginx_processes(world):
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd").startswith(world.state_of(PROXY) + "/nginx"):
                found.append(int(entry))
        except OSError:
            pass
    return found


@promise("auto gives a time-critical flow to NGINX and says why; its bytes pass client, proxy, server and nothing else")
def planned_and_carried():
    with World("nginx-planned") as world:
        running(world)
        method, reason = method_of(world, "fast")
        equal(method, "nginx", "method of fast")
        check("nginx: time-critical and no chain to carry" in reason, reason)
        equal(method_of(world, "study")[0], "nginx", "method of study")
        check("as the flow asks" in method_of(world, "study")[1], method_of(world, "study")[1])
        equal(method_of(world, "slow")[0], "socks6", "method of slow")
        given = ports(world)
        equal(sorted(given), ["fast/send", "study/send"], "flows with a port")
        check(all(re.fullmatch(r"10\.1\.0\.2:2[1-8]\d{3}", listen) for listen in given.values()), f"{given}")
        check(len(set(given.values())) == 2, f"{given}")
        names = {p["name"] for p in world.get("assignment", PROXY)["status"]["processes"]}
        equal(names, {"proxy", "nginx"}, "processes of the proxy node")
        straight = world.hosts["wan"].capture("research", "src host 10.1.0.10")
        second = world.host("research/proxy").capture("any", "tcp port 4242")
        for port in (4242, 8042, 5000):
            check(world.talks(port), f"no answer at {port}")
        equal(len(straight.stop().packets()), 0, "packets of the modality itself on the wan")
        check(all({p.source, p.destination} != {"10.1.0.2", "10.2.0.2"} for p in second.stop().packets()), "the second proxy took part")


@promise("a revoked consent cuts an NGINX flow at both ends within a second and no other; ports stay as they were when it comes back")
def revoked():
    with World("nginx-consent") as world:
        running(world)
        before = ports(world)
        with world.connect(8042) as study, world.connect(4242) as fast, world.connect(5000) as slow:
            check(exchange(study) and exchange(fast) and exchange(slow), "no echo before")
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
            check(exchange(fast) and exchange(slow), "an unrelated flow was touched")
            world.wait_phase("study", "Denied")
            check(refused(world, 8042) in ("ConnectionResetError", "ConnectionRefusedError"), "a new connection got through")
            check(exchange(fast) and exchange(slow), "an unrelated flow was touched later")
            equal(ports(world), {"fast/send": before["fast/send"]}, "ports while study is denied")
        world.apply(CONSENT)
        world.wait_phase("study", "Running")
        check(world.talks(8042), "the consent came back, the flow did not")
        equal(ports(world), before, "ports after the consent came back")


@promise("routes that the client's node cannot write end what NGINX carries for it, with the proxy's agent away; writable again, the rest goes on")
def unwritable():
    with World("nginx-unwritable") as world:
        running(world)
        world.agents[PROXY].kill()  # nobody else cuts
        with world.connect(8042) as study, world.connect(4242) as fast:
            check(exchange(study) and exchange(fast), "no echo before")
            with read_only(world.state_of(CLIENT)):
                world.client("delete", "consent", "p-0042")
                check(is_cut(study, 10), "")
                check(is_cut(fast, 10), "what else the old routes name goes on")
                check(refused(world, 8042) is not None and refused(world, 4242) is not None, "new connections pass")
        wait_until(lambda: world.talks(4242), "the granted flow passes again", 20)
        check(refused(world, 8042) is not None, "the revoked flow passes")
        world.start_agent(PROXY)


@promise("kill -9 of the control plane and of `epif nginx` ends no NGINX flow; the same NGINX serves after the restart")
def crash():
    with World("nginx-crash") as world:
        running(world)
        nginx = set(nginx_processes(world))
        with world.connect(4242) as held:
            check(exchange(held), "no echo before")
            for victim in (world.orchestrator_process, *world.agents.values()):
                victim.kill()
            check(exchange(held) and world.talks(4242), "NGINX flows need the control plane")
            world.start_orchestrator().start_agents()
            world.wait_phase("fast", "Running")
            pid = next(p["pid"] for p in world.get("assignment", PROXY)["status"]["processes"] if p["name"] == "nginx")
            os.kill(pid, signal.SIGKILL)
            check(exchange(held), "the flow needs the command")

            def replaced():
                parts = {p["name"]: p for p in world.get("assignment", PROXY)["status"]["processes"]}
                return parts["nginx"]["state"] == "running" and parts["nginx"]["pid"] != pid
            wait_until(replaced, "the agent starts it again", 15)
            check(exchange(held) and world.talks(4242), "the restart broke the flow")
        check(nginx & set(nginx_processes(world)), "another NGINX serves")


@promise("an NGINX that is not there is told in the status, and the flow is not open around it")
def no_nginx():
    with World("nginx-absent") as world:
        world.init().start_orchestrator()
        # Only this agent's view of the file system lacks the program.
        world.agents[PROXY] = world.host(PROXY).start(
            "unshare", "-m", "sh", "-c", 'mount --bind /dev/null /usr/sbin/nginx && exec "$@"', "sh",
            os.environ.get("EPIF") or "build/release/epif", "agent", "--orchestrator", "https://10.9.0.7:7443", "--node", PROXY,
            "--token-file", world.token_file, "--state", world.state_of(PROXY), name="agent")
        for node in ("umc/modality", "research/pacs", "research/proxy"):
            world.start_agent(node)
        world.apply(DOMAINS + "---" + application("fast", "treatment", 4242, "profile: time-critical"))
        wait_until(lambda: "there is no NGINX" in world.status("fast").get("reason", ""),
                   lambda: f"the status says what is missing: {world.status('fast')}", 30)
        check(world.status("fast")["phase"] != "Running", "it runs without NGINX")
        Echo(world.host("research/pacs"), 4242)
        check(refused(world, 4242) is not None, "the flow is open without NGINX")


@promise("a stop of the application, and of the agents, leaves no NGINX, no port, no rule and no file")
def clean_end():
    with World("nginx-clean") as world:
        running(world)
        for name in ("fast", "study"):
            world.client("stop", name)
            world.wait_phase(name, "Stopped")
        wait_until(lambda: not nginx_processes(world), "NGINX has ended")
        check(not os.path.exists(world.state_of(PROXY) + "/nginx"), "its folder is left")
        check("epif_nginx" not in world.host(PROXY).run("nft", "list", "ruleset").stdout, "its gate is left")
        check(refused(world, 4242) is not None, "a stopped application's flow is open")
        check(world.talks(5000), "the other application was stopped, too")
        world.apply(application("again", "treatment", 4243, "profile: http, data: both"))
        world.wait_phase("again", "Running")
        check(nginx_processes(world), "NGINX runs again")
        for node, agent in world.agents.items():
            equal(agent.stop(within=20), 0, f"exit code of the agent of {node}")
        equal(nginx_processes(world), [], "processes of NGINX")
        for node in (PROXY, CLIENT):
            rules = world.host(node).run("nft", "list", "ruleset").stdout
            check("epif" not in rules, f"rules are left at {node}:\n" + rules)
            left = sorted(os.listdir(world.state_of(node)))
            check(not [file for file in left if file.startswith("nginx")], f"files are left at {node}: {left}")


if __name__ == "__main__":
    run()
