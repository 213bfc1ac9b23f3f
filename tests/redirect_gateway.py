#!/usr/bin/python3
"""inside ── client (a gateway) ── gate ── server and proxy: what the gateway forwards is captured as its own."""

import contextlib
import socket
import time

from lab import check, epif, equal, promise, run, wait_until
from redirect_questions import MAPPED, NAME, foreign, resolve
from redirect_world import Datagrams, Gateway, Service, ask, datagram_socket, echo, is_refused, is_reset, read_all

TARGET, TARGET6 = "10.2.0.20", "fd02::20"


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
        for flag in ("--max-connections-per-source", "--max-handshakes-per-source", "--max-rate-per-source"):
            done = w.client.run(epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET, "--state", w.lab.path("other"), flag, "5",
                                check=False)
            equal(done.returncode, 2, f"exit code of {flag} without --gateway")
            check("--gateway" in done.stderr, f"its message: {done.stderr}")


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


def addresses(w, count):
    """So many addresses of the one host behind the gateway."""
    made = [f"10.7.0.{last}" for last in range(5, 5 + count)]
    for address in made[1:]:
        w.inside.ip("address", "add", f"{address}/24", "dev", w.inside_device)
    return made


def bound(made, source):
    """A socket of datagrams that come from this address."""
    made.bind((source, 0))
    return made


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


def is_shut_out(w, source=None):
    """True if a new connection of the host behind the gateway is reset; else its bytes came back, and it is closed."""
    try:
        with w.inside.inside():
            made = socket.create_connection((TARGET, 7001), 5.0, source_address=source and (source, 0))
        with made as out:
            out.sendall(b"ping")
            return read_all(out, 4) != b"ping"
    except ConnectionError:
        return True


@promise("a host behind the gateway gets its share of connections and no more: the next is reset at once, others go on, and places come back")
def connections_of_a_source():
    with Gateway("gwshare") as w, Service(w.server, 7001, echo), Crowd() as crowd:
        redirector = w.redirect("--gateway", "--capture", TARGET, "--threads", "1", "--max-connections-per-source", "20")
        equal(w.metric('limit{limit="connections_per_source"}'), 20, "the limit in metrics")
        _, other = addresses(w, 2)
        inside = crowd.served(w.inside, 20)
        first = time.monotonic()
        for _ in range(30):
            began = time.monotonic()
            check(is_refused(w.inside, TARGET, 7001), "one beyond the share was served")
            check(time.monotonic() - began < 1.0, f"the reset took {time.monotonic() - began:.1f} s")
        equal((w.metric('refused_total{reason="limit"}'), w.metric('shed_total{limit="connections_per_source"}')), (30, 30), "refusals counted")
        lines, took = redirector.output().count("reason=limit"), time.monotonic() - first
        check(1 <= lines <= 1 + took, f"{lines} lines in the log for 30 refusals in {took:.2f} s")
        crowd.served(w.inside, 3, source=other)
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


@promise("one host with many addresses gets no more than the part of connections for all forwarded hosts, and the gateway's own have the rest")
def connections_of_all_sources():
    with Gateway("gwall") as w, Service(w.server, 7001, echo), Crowd() as crowd:
        redirector = w.redirect("--gateway", "--capture", TARGET, "--threads", "1", prefix=("prlimit", "--nofile=192:192"))
        most, forwarded = w.metric('limit{limit="connections"}'), w.metric('limit{limit="forwarded_connections"}')
        share = w.metric('limit{limit="connections_per_source"}')
        equal((most, forwarded, share), (64, 48, 16), "limits for 192 descriptors")
        *three, fourth = addresses(w, 4)
        inside = [out for source in three for out in crowd.served(w.inside, share, source)]
        for _ in range(5):
            check(is_shut_out(w, fourth), "one beyond the part of all forwarded hosts was served")
        equal(w.metric('shed_total{limit="forwarded_connections"}'), 5, "refusals counted")
        crowd.served(w.client, most - forwarded)
        check(is_refused(w.client, TARGET, 7001), "the gateway's own beyond all connections was served")
        equal(w.metric('shed_total{limit="connections"}'), 1, "own refusals counted")
        # What is refused to the one side hides nothing of the other, and the next second tells again.
        told = [line for line in redirector.output().splitlines() if "reason=limit" in line]
        check(any("client=10.1.0.10:" in line for line in told), f"the gateway's own refusal is not in the log: {told}")
        check(any(flow["client"].startswith("10.1.0.10:") for flow in w.flows()["refusals"]), "the gateway's own refusal is not in /flows")
        wait_until(lambda: is_shut_out(w, fourth) and redirector.output().count(f"client={fourth}:") >= 2, "a later second tells again")
        inside[0].close()
        wait_until(lambda: w.metric('forwarded_active{what="connections"}') == forwarded - 1, "a place is free")
        crowd.served(w.inside, 1, fourth)


@promise("one host with many addresses gets no more than the part of datagrams for all forwarded hosts; what is dropped at once afterwards counts as before")
def datagrams_of_all_sources():
    with Gateway("gwalldatagrams") as w, Datagrams(w.server, 9), contextlib.ExitStack() as crowd:
        w.redirect("--gateway", "--capture", TARGET, "--threads", "1")
        share, most = (w.metric(f'limit{{limit="{of}"}}') for of in ("datagram_associations_per_source", "forwarded_datagram_associations"))
        equal((share, most), (128, 384), "limits")
        *three, fourth = addresses(w, 4)
        for source in three:
            for _ in range(share):
                out = crowd.enter_context(bound(datagram_socket(w.inside, TARGET), source))
                equal(ask(out, b"many", (TARGET, 9))[0], b"many", f"answer to {source}")
        beyond = crowd.enter_context(bound(datagram_socket(w.inside, TARGET), fourth))
        beyond.sendto(b"more", (TARGET, 9))
        wait_until(lambda: w.metric('shed_total{limit="forwarded_datagram_associations"}') == 1, "what is beyond is refused")
        beyond.sendto(b"again", (TARGET, 9))
        wait_until(lambda: w.metric('datagrams_dropped_total{reason="limit"}') == 2, "the next one counts under the same reason")
        equal(w.metric('datagrams_dropped_total{reason="no_route"}'), 0, "under another reason")
        for _ in range(20):
            out = crowd.enter_context(datagram_socket(w.client, TARGET))
            equal(ask(out, b"own", (TARGET, 9))[0], b"own", "answer to the gateway's own")


def stay_silent(w, crowd, source, count):
    """So many connections of the host behind the gateway that ask a resolver nothing; the reset of one may come while connect() still waits."""
    for _ in range(count):
        with w.inside.inside(), contextlib.suppress(ConnectionResetError):
            crowd.enter_context(socket.create_connection(("10.3.0.30", 53), 5.0, source_address=(source, 0)))


@promise("a host behind the gateway that holds many DNS connections and asks nothing keeps nobody else's questions out, and is reset at once")
def questions_of_a_source():
    with Gateway("gwasks") as w, Datagrams(w.proxy_node, 53, answer=foreign), contextlib.ExitStack() as crowd:
        redirector = w.redirect("--gateway", "--dns", "--capture", TARGET, "--threads", "1")
        sources = addresses(w, 5)
        stay_silent(w, crowd, sources[0], 300)
        equal(resolve(w.client, "elsewhere.example", server="10.3.0.30"), (0, ["192.0.2.1"]), "answer to the gateway's own")
        equal(w.metric('forwarded_active{what="dns_queries"}'), w.metric('limit{limit="dns_queries_per_source"}'), "places of the silent host")
        wait_until(lambda: w.metric('shed_total{limit="dns_queries_per_source"}') == 300 - 64, "what is beyond is counted")
        check("reason=limit" in redirector.output(), "the log does not tell of it")
        check(is_refused(w.inside, "10.3.0.30", 53), "one beyond the share was not reset")
        equal(resolve(w.inside, "elsewhere.example", server="10.3.0.30"), (5, []), "answer to a datagram beyond the share")
        for source in sources[1:]:
            stay_silent(w, crowd, source, 64)
        equal(resolve(w.client, "elsewhere.example", server="10.3.0.30"), (0, ["192.0.2.1"]), "answer to the gateway's own beside many addresses")
        check(w.metric('shed_total{limit="forwarded_dns_queries"}') > 0, "no question was refused to many addresses together")
        wait_until(lambda: w.metric('forwarded_active{what="dns_queries"}') == 0, "who asks nothing gives the places back", within=15)
        equal(resolve(w.inside, "elsewhere.example", server="10.3.0.30"), (0, ["192.0.2.1"]), "answer when there are places again")


run()
