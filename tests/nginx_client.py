#!/usr/bin/python3
"""The NGINX method from an unmodified program to the server: the client's kernel sends it, NGINX carries it.
Topology in nginx_world.py; both routes files are written here, as two agents would."""
import contextlib
import hashlib
import os
import re
import threading
import time

from lab import check, epif, equal, promise, run
from nginx_world import Ends, PORT, World, how_it_ends, refused, route, route6, wait_until
from redirect_world import own_mark

SERVER, SERVER6 = "10.2.0.20", "fd02::20"


@contextlib.contextmanager
def both(name, *routes):
    """A world in which NGINX and the redirector follow `routes`, by default one of each family to port 4242."""
    with World(name) as world:
        world.write_both(*(routes or (route(), route6())))
        world.start().start_redirector()
        yield world


def redirector_counts(world):
    """What the redirector's own process has carried, refused or holds."""
    text = world.client.run("curl", "-sS", "--unix-socket", world.client_admin, "http://x/metrics").stdout
    return {line.rpartition(" ")[0]: int(float(line.rpartition(" ")[2])) for line in text.splitlines()
            if not line.startswith("#") and re.search(r"completed|accepted|refused|flows", line)}


@promise("an unmodified program's transfer passes through NGINX whole, over IPv4 and IPv6, with no program of ours on its way")
def carries():
    with both("nginx-through") as world:
        counts = redirector_counts(world)
        check(len(counts) >= 2, f"the redirector's counts: {counts}")
        straight = world.gate.capture("any", f"(host 10.1.0.10 and host {SERVER}) or (host fd01::10 and host {SERVER6})")
        opened = world.gate.capture("any", "tcp[13] & 2 != 0 or (ip6[6] == 6 and ip6[53] & 2 != 0)")
        data = os.urandom(4 << 20)
        for server in (SERVER, SERVER6):
            listener = world.server.listen(4242, server)
            with world.client.connect(server, 4242) as out:
                sender = threading.Thread(target=lambda: (out.sendall(data), out.shutdown(1)))
                sender.start()
                peer, address = listener.accept()
                check(address[0] in ("10.3.0.30", "fd03::30"), f"the server sees {address}")
                with peer:
                    got = b"".join(iter(lambda: peer.recv(65536), b""))
                    peer.sendall(hashlib.sha256(got).hexdigest().encode())
                sender.join()
                equal(b"".join(iter(lambda: out.recv(65536), b"")).decode(), hashlib.sha256(data).hexdigest(), f"hash at {server}")
            listener.close()
        equal(redirector_counts(world), counts, "what the redirector's process has seen")
        equal(len(straight.stop().packets()), 0, "packets between client and server themselves")
        pairs = {frozenset((p.source, p.destination)) for p in opened.stop().packets()}
        wanted = {frozenset(("10.1.0.10", "10.3.0.30")), frozenset(("10.3.0.30", SERVER)),
                  frozenset(("fd01::10", "fd03::30")), frozenset(("fd03::30", SERVER6))}
        equal(pairs, wanted, "who spoke to whom on the wire")


@promise("everything else towards the server stays guarded: other ports, datagrams, ICMP; and a socket's mark opens nothing")
def guarded():
    with both("nginx-guarded") as world:
        wan = world.gate.capture("any", f"host {SERVER} and host 10.1.0.10")
        other = Ends(world.server, 4243)
        check(refused(world.client, SERVER, 4243) is not None, "another port")
        world.client.run("ping", "-c", "1", "-W", "1", SERVER, check=False)
        world.client.run("/usr/bin/python3", "-c", f"""
import socket
for mark in (bytes(4), {own_mark(world.client)!r}):
    out = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    out.setsockopt(socket.SOL_SOCKET, 36, mark)
    out.settimeout(1)
    try:
        out.connect(({SERVER!r}, 4242))
        out.sendall(b"x")
    except OSError:
        pass
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagram.setsockopt(socket.SOL_SOCKET, 36, mark)
    try:
        datagram.sendto(b"x", ({SERVER!r}, 4242))
    except OSError:
        pass
""", timeout=20)
        equal([str(p) for p in wan.stop().packets()][:3], [], "packets between client and server themselves")
        equal(other.seen, [], "connections to another port")


@promise("with the redirector dead, running and new connections go on in the kernel, and nothing else gets out")
def redirector_dead():
    with both("nginx-dead") as world:
        ends, other = Ends(world.server, 4242), Ends(world.server, 4243)
        with world.client.connect(SERVER, 4242) as held:
            held.sendall(b"one")
            ends.wait(lambda seen: seen and seen[0]["bytes"] == 3, "it flows")
            world.redirector.kill()
            held.sendall(b"two")
            ends.wait(lambda seen: seen[0]["bytes"] == 6, "the running connection goes on")
            with world.client.connect(SERVER, 4242) as fresh:
                fresh.sendall(b"three")
                ends.wait(lambda seen: len(seen) == 2 and seen[1]["bytes"] == 5, "a new connection is carried")
            equal(refused(world.client, SERVER, 4243), "ConnectionRefusedError", "another port")
            equal(other.seen, [], "connections to another port")
            world.start_redirector()
            held.sendall(b"four")
            ends.wait(lambda seen: seen[0]["bytes"] == 10, "the restart touches nothing that is permitted")


@promise("withdrawn in the middle of a transfer, both ends have an error within a second, whoever's agent is first; others go on")
def revoked():
    for first in ("client", "proxy"):
        kept = route("kept", listen=f"10.3.0.30:{PORT + 4}", destination="10.2.0.20:4244")
        with both("nginx-withdrawn", route(), route6(), kept) as world:
            ends, ends6, other = Ends(world.server, 4242), Ends(world.server, 4242, SERVER6), Ends(world.server, 4244)
            with world.client.connect(SERVER, 4242) as push, world.client.connect(SERVER6, 4242) as push6, \
                    world.client.connect(SERVER, 4244) as spared:
                for out in (push, push6, spared):
                    out.sendall(b"half")
                for one in (ends, ends6, other):
                    one.wait(lambda seen: seen and seen[0]["bytes"] == 4, "half arrived")
                began = time.monotonic()
                if first == "client":
                    world.write_client(kept)
                    equal([how_it_ends(push), how_it_ends(push6)], ["reset"] * 2, "the client's ends")
                    check(ends.seen[0]["how"] is None, "the server heard of a polite end before the proxy had cut")
                    world.captured()
                    world.write(kept)
                else:
                    world.write(kept)
                    equal([how_it_ends(push), how_it_ends(push6)], ["reset"] * 2, "the client's ends")
                    world.write_client(kept)
                for one in (ends, ends6):
                    one.wait(lambda seen: seen[0]["how"], "the server's end")
                    equal(one.seen[0]["how"], "reset", "the server's end")
                took = time.monotonic() - began
                check(took < 1.0, f"cut after {took:.3f} s")
                world.captured()
                spared.sendall(b"half")
                other.wait(lambda seen: seen[0]["bytes"] == 8, "the other flow goes on")
                check(refused(world.client, SERVER, 4242) in ("reset", "ConnectionResetError", "ConnectionRefusedError"), "a new connection")
                tracked = world.client.run("cat", "/proc/net/nf_conntrack", check=False).stdout
                check("dport=4242" not in tracked or f"sport={PORT} " not in tracked, tracked)
                print(f"      {first} first: all four ends had their error after {took * 1000:.0f} ms")


@promise("a route that expires is cut at the client as well, and new connections are refused with the reason")
def expiry():
    end = int(time.time()) + 4
    with both("nginx-client-expiry", route(expires=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end)))) as world:
        Ends(world.server, 4242)
        with world.client.connect(SERVER, 4242) as out:
            out.sendall(b"x")
            equal(how_it_ends(out, 7), "reset", "the client's end")
        wait_until(lambda: " dnat ip to " not in world.client.run("nft", "list", "ruleset").stdout, "the kernel's rule is gone")
        check(refused(world.client, SERVER, 4242) is not None, "a new connection")
        world.redirector.wait_for_log("the route has expired")


@promise("a redirector that was killed finds on its return what was withdrawn meanwhile, and ends it")
def withdrawn_while_dead():
    with both("nginx-return") as world:
        ends = Ends(world.server, 4242)
        with world.client.connect(SERVER, 4242) as out:
            out.sendall(b"x")
            ends.wait(lambda seen: seen and seen[0]["bytes"] == 1, "it flows")
            world.redirector.kill()
            world.write_client()
            world.start_redirector()
            equal(how_it_ends(out), "reset", "the client's end")
        check(refused(world.client, SERVER, 4242) is not None, "a new connection")


@promise("a clean stop of the redirector ends what the kernel carries and leaves no rule")
def clean_stop():
    with both("nginx-stop") as world:
        Ends(world.server, 4242)
        with world.client.connect(SERVER, 4242) as out:
            out.sendall(b"x")
            equal(world.redirector.stop(), 0, "exit code")
            equal(how_it_ends(out), "reset", "the client's end")
        check("epif" not in world.client.run("nft", "list", "ruleset").stdout, "rules are left")


@promise("a proxy without NGINX, or a routes file with an impossible route, is refused with the place and the reason")
def wrong_routes():
    with World("nginx-wrong-routes") as world:
        for broken, words in ((route(destination="10.2.0.0/24:80"), "one address and one port"),
                              (route(destination="[fd02::20]:80"), "different families"),
                              (route(next={"proxy": "10.3.0.30:1083"}), "without chain, next, bind or selector")):
            world.write(broken)
            done = world.proxy.run(epif(), "nginx", "--routes", world.routes_file, "--state", world.state, check=False)
            check(done.returncode != 0 and words in done.stderr and "routes[0].nginx" in done.stderr, done.stderr)


if __name__ == "__main__":
    run()
