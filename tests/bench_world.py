#!/usr/bin/python3
"""The benchmark's own world: client, proxy and server with links of a known delay (bench/world.py, bench/link)."""
import dataclasses
import subprocess
import sys

from lab import check, equal, promise, repository, run

sys.path.insert(0, str(repository / "bench"))
import competitor  # noqa: E402
import preflight  # noqa: E402
import world as benchmark  # noqa: E402
from paper.topology import named  # noqa: E402


@promise("links have the RTTs of their topology, and one that is off by more than 5 % is named and nothing is measured")
def checked():
    with benchmark.World(named("20/20/40")) as world:
        true = world.topology
        for link, address in (("cp", benchmark.PROXY), ("ps", "10.72.0.20"), ("cs", benchmark.SERVER)):
            world.topology = dataclasses.replace(true, **{link: 2 * getattr(true, link)})
            try:
                world.check_rtts(tries=1)
            except benchmark.Unfit as refused:
                check(address in str(refused), f"{link}: {refused}")
            else:
                check(False, f"twice the RTT of {link} was taken")


@promise("where the kernel has netem both ends of each link get it, and where it does not delay nothing is measured")
def by_netem():
    asked, known, tc = [], benchmark.netem.known, benchmark.netem.tc
    benchmark.netem.known = lambda: True
    benchmark.netem.tc = lambda *words: asked.append(words[1:]) or ["true"]
    try:
        with benchmark.World(named("20/30/40"), 0.01, 100):
            check(False, "a world without its delays was taken")
    except benchmark.Unfit as refused:
        check("not 20 ms" in str(refused), refused)
    finally:
        benchmark.netem.known, benchmark.netem.tc = known, tc
    equal(asked, [(device, rtt, 0.01, 100) for device, rtt in (("cp", 20), ("ps", 30), ("cs", 40)) for _ in range(2)], "what tc is asked for")


@promise("the server answers the client over each way, and the proxy reaches it by its own")
def answers():
    with benchmark.World() as world:
        for node in (world.client, world.proxy):
            equal(node.run("curl", "-sS", f"http://{benchmark.SERVER}/").stdout, "the server's answer\n", f"what {node.name} gets")
        way = world.proxy.ip("route", "get", benchmark.SERVER)
        check("dev ps" in way, way)


@promise("a competitor whose port is in use is refused with node, port and who has it, and nothing of it starts")
def taken():
    with benchmark.World() as world:
        for name, made in competitor.everyone().items():
            rival = made()
            for node, ports in rival.ports.items():
                for port in ports:
                    with getattr(world, node).listen(port):
                        before = list(world.lab.processes)
                        try:
                            rival.start(world)
                        except benchmark.Unfit as refused:
                            check(f"port {port} of {node} is in use by python3, process " in str(refused), f"{name}: {refused}")
                        else:
                            check(False, f"{name} took port {port} of {node}, which is in use")
                        equal(world.lab.processes, before, f"processes of {name}")


@promise("each of ours, NGINX, HAProxy and the SOCKS pairs listens on the ports that its file names, and gives them back")
def named_ports():
    with benchmark.World() as world:
        for name, made in competitor.everyone().items():
            rival = made()
            if rival.missing():
                continue
            rival.start(world)
            try:
                for node, ports in rival.ports.items():
                    for port in ports:
                        check(getattr(world, node).listens(port), f"{name} does not listen on {port} of {node}")
            finally:
                rival.stop(world)
            for node, ports in rival.ports.items():
                for port in ports:
                    check(not getattr(world, node).listens(port), f"{name} still has {port} of {node}")


@promise("ports that a new namespace does not give are named before anything starts, and the namespace is gone")
def forbidden():
    equal(preflight.kernel_lacks([80, 8080]), [], "what is missing")
    said = preflight.kernel_lacks([80, 70000])
    check(len(said) == 1 and "70000" in said[0] and " 80 " not in said[0], said)
    check("benchcheck" not in subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout, "its namespace is left")


if __name__ == "__main__":
    run()
