#!/usr/bin/python3
"""inside ── client (a gateway) ── gate ── server and proxy: what the gateway forwards is captured as its own."""

from lab import check, equal, promise, run
from redirect_questions import MAPPED, NAME, resolve
from redirect_world import Datagrams, Service, World, ask, datagram_socket, echo, is_reset, read_all

TARGET, TARGET6 = "10.2.0.20", "fd02::20"


class Gateway(World):
    """... and a host behind the client, which forwards for it."""

    def build(self):
        super().build()
        self.inside = self.lab.node("inside")
        self.lab.link(self.inside, "10.7.0.5/24 fd07::5/64", self.client, "10.7.0.1/24 fd07::1/64")
        self.inside.route("default", "10.7.0.1").route("default", "fd07::1")
        self.client.sysctl("net.ipv4.ip_forward", 1).sysctl("net.ipv6.conf.all.forwarding", 1)
        self.client.route("default", "10.1.0.1").route("default", "fd01::1")  # forwarding hosts forget what routers told
        self.gate.route("10.7.0.0/24", "10.1.0.10").route("fd07::/64", "fd01::10")


@promise("forwarded connections and datagrams go through the proxy, IPv4 and IPv6")
def carried():
    with Gateway("gwcarried") as w, Service(w.server, 7001, echo) as service, Service(w.server, 7001, echo, "::") as six, \
            Datagrams(w.server, 9) as datagrams, Datagrams(w.server, 9, "::"):
        w.redirect("--gateway", "--capture", TARGET, "--capture", f"[{TARGET6}]")
        wire = w.gate.capture("client", f"host {TARGET} or host {TARGET6}")
        for address in (TARGET, TARGET6):
            for node in (w.inside, w.client):
                with node.connect(address, 7001) as out:
                    out.sendall(b"z" * 200_000)
                    equal(len(read_all(out, 200_000)), 200_000, f"bytes that came back to {node.name} from {address}")
                with datagram_socket(node, address) as out:
                    equal(ask(out, b"forwarded", (address, 9)), (b"forwarded", (address, 9)), "answer and its sender")
        equal({peer[0] for peer in service.peers + datagrams.peers}, {"10.3.0.30"}, "who reached the server")
        equal({peer[0] for peer in six.peers}, {"fd03::30"}, "who reached the server over IPv6")
        equal(wire.stop().packets(), [], "packets that went straight to the target")


@promise("what else is forwarded to a protected destination is dropped, and the rest passes")
def guarded():
    with Gateway("gwguard") as w, Service(w.server, 7001, echo) as service, Datagrams(w.server, 9), Datagrams(w.proxy_node, 9):
        control = w.gate.capture("client", f"host {TARGET}")
        w.inside.connect(TARGET, 7001).close()
        w.inside.run("ping", "-c", "1", "-W", "1", TARGET)
        check(len(control.stop().packets()) > 2, "control: forwarded packets are not seen without rules")
        redirector = w.redirect("--gateway", "--capture", TARGET)
        wire = w.gate.capture("client", f"host {TARGET}")
        check(w.inside.run("ping", "-c", "1", "-W", "1", TARGET, check=False).returncode != 0, "a ping was forwarded")
        with datagram_socket(w.inside, "10.3.0.30") as out:
            equal(ask(out, b"open", ("10.3.0.30", 9))[0], b"open", "a datagram to an open destination")
        seen = len(service.peers)
        redirector.kill()
        with datagram_socket(w.inside, TARGET) as out:
            for _ in range(3):
                out.sendto(b"leak", (TARGET, 9))
        try:
            w.inside.connect(TARGET, 7001, timeout=1.0).close()
            check(False, "a connection was accepted although the redirector is dead")
        except OSError:
            pass
        equal(wire.stop().packets(), [], "packets that went straight to the target")
        equal(len(service.peers), seen, "connections at the server")


@promise("without --gateway forwarded traffic to a protected destination is dropped")
def not_a_gateway():
    with Gateway("gwnot") as w, Service(w.server, 7001, echo) as service:
        w.redirect("--capture", TARGET)
        try:
            with w.inside.connect(TARGET, 7001, timeout=1.0) as out:
                check(is_reset(out), "a forwarded connection passed")
        except OSError:
            pass
        equal(service.peers, [], "connections at the server")


@promise("a network behind the gateway that lies in the protected block is excluded, and is answered")
def inner_network():
    with Gateway("gwinner") as w, Service(w.server, 7001, echo) as service, Datagrams(w.server, 9):
        w.redirect("--gateway", "--capture", "10.0.0.0/8", "--exclude", "10.7.0.0/24")
        with w.inside.connect(TARGET, 7001) as out, datagram_socket(w.inside, TARGET) as other:
            out.sendall(b"wide")
            equal(read_all(out, 4), b"wide", "echo")
            equal(ask(other, b"wide", (TARGET, 9)), (b"wide", (TARGET, 9)), "answer and its sender")
        equal(service.peers[0][0], "10.3.0.30", "who connected to the server")


@promise("hosts behind the gateway get the names of remote nodes, too")
def names():
    with Gateway("gwnames") as w:
        w.redirect("--gateway", "--map", f"{NAME}={MAPPED}")
        equal(resolve(w.inside, NAME, server="10.3.0.30"), (0, [MAPPED]), "the name's address")


run()
