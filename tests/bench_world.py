#!/usr/bin/python3
"""The benchmark's own world: client, proxy and server with links of a known delay (bench/world.py, bench/link)."""
import dataclasses
import re
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


@promise("by netem the delays are shortened once by what the links cost by themselves, and no further than to nothing")
def corrected():
    asked, seen = [], [[20.75, 1.25, 40.25], [20.0, 0.5, 40.0]]
    before = benchmark.netem.known, benchmark.netem.tc, benchmark.World.rtts
    benchmark.netem.known = lambda: True
    benchmark.netem.tc = lambda *words: asked.append(words[1:3]) or ["true"]
    benchmark.World.rtts = lambda world: seen.pop(0)
    try:
        with benchmark.World(named("20/0.5/40")):
            pass
    finally:
        benchmark.netem.known, benchmark.netem.tc, benchmark.World.rtts = before
    equal(asked[::2], [("cp", 20), ("ps", 0.5), ("cs", 40), ("cp", 19.25), ("ps", 0), ("cs", 39.75)], "what tc is asked for at one end of each")


@promise("links with a rate and a loss are what their topology says: the time of a ping on the wire is no error, and a lost one neither")
def slow_and_lossy():
    with benchmark.World(named("5/5/10"), loss=0.1, rate_mbit=1) as world:
        check(abs(world.wire_ms() - 1.568) < 1e-9, f"two frames of 98 bytes at 1 Mbit/s: {world.wire_ms()} ms")
        said = world.client.run("ping", "-n", "-c", "50", "-i", "0.02", benchmark.SERVER, check=False).stdout
        lost = float(re.search(r"([\d.]+)% packet loss", said)[1])
        check(0 < lost < 60, f"lost of a loss of 10 % each way: {lost} %")


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
