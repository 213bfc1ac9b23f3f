#!/usr/bin/python3
"""inside ── client (a gateway) ── gate ── server and proxy: what the gateway forwards is captured as its own."""

import contextlib
import socket
import time

from lab import check, equal, promise, run, wait_until
from redirect_questions import MAPPED, NAME, resolve
from redirect_world import Datagrams, Service, World, ask, datagram_socket, echo, is_refused, is_reset, read_all

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


class Crowd(contextlib.ExitStack):
    """Connections that are closed at the end."""

    def served(self, node, count, source=None):
        """So many that were carried to the server, from the node's own or another of its addresses."""
        made = []
        for _ in range(count):
            with node.inside():
                out = socket.create_connection((TARGET, 7001), 5.0, source_address=source and (source, 0))
            made.append(self.enter_context(out))
            out.sendall(b"ping")
            equal(read_all(out, 4), b"ping", f"echo to {source or node.name}")
        return made


def is_shut_out(w):
    """True if a new connection of the host behind the gateway is reset; else its bytes came back, and it is closed."""
    try:
        with w.inside.connect(TARGET, 7001) as out:
            out.sendall(b"ping")
            return read_all(out, 4) != b"ping"
    except ConnectionError:
        return True


@promise("a host behind the gateway gets its share of connections and no more: the next is reset at once, others go on, and places come back")
def connections_of_a_source():
    with Gateway("gwshare") as w, Service(w.server, 7001, echo), Crowd() as crowd:
        redirector = w.redirect("--gateway", "--capture", TARGET, "--threads", "1", "--max-connections-per-source", "20")
        equal(w.metric('limit{limit="connections_per_source"}'), 20, "the limit in metrics")
        w.inside.ip("address", "add", "10.7.0.6/24", "dev", w.inside.ip("-o", "route", "get", "10.7.0.1").split(" dev ")[1].split()[0])
        inside = crowd.served(w.inside, 20)
        for _ in range(30):
            began = time.monotonic()
            check(is_refused(w.inside, TARGET, 7001), "one beyond the share was served")
            check(time.monotonic() - began < 1.0, f"the reset took {time.monotonic() - began:.1f} s")
        equal((w.metric('refused_total{reason="limit"}'), w.metric('shed_total{limit="connections_per_source"}')), (30, 30), "refusals counted")
        equal(redirector.output().count("reason=limit"), 1, "lines in the log for 30 refusals")
        crowd.served(w.inside, 3, source="10.7.0.6")
        crowd.served(w.client, 40)  # the gateway's own programs are no such source
        for out in inside:
            out.sendall(b"still")
            equal(read_all(out, 5), b"still", "echo to one within the share")
        equal(w.metric('forwarded_active{what="connections"}'), 23, "connections of hosts behind the gateway")
        for out in inside[:5]:
            out.close()
        wait_until(lambda: w.metric('forwarded_active{what="connections"}') == 18, "five places are free")
        crowd.served(w.inside, 5)
        check(is_refused(w.inside, TARGET, 7001), "one beyond the share was served afterwards")


@promise("a host behind the gateway whose connections hang before a dead proxy is held to its share of these; the gateway's own may wait, too")
def handshakes_of_a_source():
    with Gateway("gwhanging") as w:
        w.gate.ip("route", "add", "blackhole", "10.3.0.30/32")
        w.redirect("--gateway", "--capture", TARGET, "--threads", "1", "--max-handshakes-per-source", "5")
        with contextlib.ExitStack() as waiting:
            for _ in range(5):
                waiting.enter_context(w.inside.connect(TARGET, 7001))
            wait_until(lambda: w.metric('forwarded_active{what="handshakes"}') == 5, "five wait for the proxy")
            began = time.monotonic()
            check(is_refused(w.inside, TARGET, 7001) and time.monotonic() - began < 1.0, "the sixth was not reset at once")
            equal(w.metric('shed_total{limit="handshakes_per_source"}'), 1, "refusals counted")
            for _ in range(8):
                waiting.enter_context(w.client.connect(TARGET, 7001))
            wait_until(lambda: w.metric("connections_active") == 13, "the gateway's own wait beside them")
        wait_until(lambda: w.metric('forwarded_active{what="handshakes"}') == 0, "places are free when the clients have gone", within=15)


@promise("a host behind the gateway that connects too often is reset beyond its rate, the gateway's own are served, and the rate comes back")
def rate_of_a_source():
    with Gateway("gwrate") as w, Service(w.server, 7001, echo), Crowd() as crowd:
        w.redirect("--gateway", "--capture", TARGET, "--threads", "1", "--max-rate-per-source", "10")
        began = time.monotonic()
        refused = sum(is_shut_out(w) for _ in range(60))
        passed = 60 - refused
        check(10 <= passed <= 10 + 10 * (time.monotonic() - began), f"{passed} of 60 passed in {time.monotonic() - began:.2f} s at 10 a second")
        equal(w.metric('shed_total{limit="rate_per_source"}'), refused, "refusals counted")
        crowd.served(w.client, 20)
        wait_until(lambda: not is_shut_out(w), "the rate comes back")


@promise("sockets of a host behind the gateway that send datagrams are held to its share, and the gateway's own are answered")
def datagrams_of_a_source():
    with Gateway("gwdatagrams") as w, Datagrams(w.server, 9):
        w.redirect("--gateway", "--capture", TARGET, "--threads", "1")
        most = w.metric('limit{limit="datagram_associations_per_source"}')
        equal(most, 128, "the limit in metrics")
        sockets = [datagram_socket(w.inside, TARGET) for _ in range(most + 12)]
        for count, out in enumerate(sockets, 1):
            out.sendto(b"many", (TARGET, 9))
            if count % 40 == 0:  # the kernel's own queue must not drop them
                wait_until(lambda: w.metric('forwarded_active{what="datagram_associations"}') >= min(count, most), lambda: f"{count} associations stand")
        wait_until(lambda: w.metric('shed_total{limit="datagram_associations_per_source"}') == 12, "what is beyond is refused")
        equal(w.metric("datagram_associations"), most, "associations")
        with datagram_socket(w.client, TARGET) as out:
            equal(ask(out, b"own", (TARGET, 9))[0], b"own", "answer to the gateway's own")
        for out in sockets:
            out.close()


run()
