#!/usr/bin/python3
"""The benchmark's own world: client, proxy and server with links of a known delay (bench/world.py, bench/link)."""
import dataclasses
import sys

from lab import check, equal, promise, repository, run

sys.path.insert(0, str(repository / "bench"))
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


@promise("the server answers the client over each way, and the proxy reaches it by its own")
def answers():
    with benchmark.World() as world:
        for node in (world.client, world.proxy):
            equal(node.run("curl", "-sS", f"http://{benchmark.SERVER}/").stdout, "the server's answer\n", f"what {node.name} gets")
        way = world.proxy.ip("route", "get", benchmark.SERVER)
        check("dev ps" in way, way)


if __name__ == "__main__":
    run()
