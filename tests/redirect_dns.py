#!/usr/bin/python3
"""client ── gate ── server, proxy and resolver: names of remote nodes reach the proxy as names."""
import re
import signal
import socket
import struct

from lab import check, epif, equal, promise, run, wait_until, write_json
from redirect_questions import AAAA, A, MAPPED, MAPPED6, MX, NAME, RESOLVER, foreign, query, resolve, resolve_stream
from redirect_world import Datagrams, Service, World, ask, datagram_socket, echo, is_refused, read_all

REAL = "10.2.0.20"


def foreign_stream(peer):
    while len(head := read_all(peer, 2)) == 2:
        answer = foreign(read_all(peer, struct.unpack(">H", head)[0]))
        peer.sendall(struct.pack(">H", len(answer)) + answer)


class Named(World):
    """... and a resolver 10.4.0.53; the proxy alone knows where the name lives, by its own hosts file."""

    def build(self):
        super().build()
        self.resolver = self.lab.node("resolver")
        self.lab.link(self.resolver, "10.4.0.53/24 fd04::53/64", self.gate, "10.4.0.1/24 fd04::1/64")

    def proxy_that_knows(self, name, address):
        hosts = self.lab.path("hosts")
        with open(hosts, "w", encoding="ascii") as file:
            file.write(f"127.0.0.1 localhost\n{address} {name}\n")
        self.proxy.kill()
        self.proxy = self.proxy_node.start("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts, epif(), "proxy",
                                           "--listen", "10.3.0.30:1080", "--allow-all", name="knows")
        self.proxy_node.wait_for_port(1080, process=self.proxy)


@promise("a mapped name resolves to its address, and the proxy is asked for the name, over TCP and UDP")
def kept():
    with Named("dnskept") as w, Service(w.server, 80, echo) as service, Datagrams(w.server, 80):
        w.proxy_that_knows(NAME, REAL)
        w.redirect("--map", f"{NAME}={MAPPED}", "--map", f"{NAME}={MAPPED6}")
        equal(resolve(w.client, NAME), (0, [MAPPED]), "A")
        equal(resolve(w.client, "PACS.Research.Example"), (0, [MAPPED]), "A in other letters")
        equal(resolve(w.client, NAME, AAAA), (0, [MAPPED6]), "AAAA")
        equal(resolve(w.client, NAME, MX), (0, []), "MX")
        equal(resolve_stream(w.client, NAME), (0, [MAPPED]), "A over TCP")
        for address in (MAPPED, MAPPED6):
            with w.client.connect(address, 80) as out:
                out.sendall(b"by name")
                equal(read_all(out, 7), b"by name", "echo")
        equal({peer[0] for peer in service.peers}, {"10.3.0.30"}, "who connected to the server")
        with datagram_socket(w.client, MAPPED) as out:
            equal(ask(out, b"by name", (MAPPED, 80)), (b"by name", (MAPPED, 80)), "answer and its sender")
        equal(w.metric('dns_total{result="answered"}'), 5, "answered")


@promise("an unmodified program finds the server by its name")
def unmodified():
    with Named("dnscurl") as w:
        w.proxy_that_knows(NAME, REAL)
        web = w.server.start("/usr/bin/python3", "-u", "-m", "http.server", "80", cwd=w.lab.state)
        w.server.wait_for_port(80, process=web)
        w.redirect("--map", f"{NAME}={MAPPED}")
        conf = w.lab.path("resolv.conf")
        with open(conf, "w", encoding="ascii") as file:
            file.write(f"nameserver {RESOLVER}\n")
        w.client.run("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', conf,
                     "curl", "-sS", "--fail", "-o", "/dev/null", f"http://{NAME}/resolv.conf")


@promise("other names go on to the resolver that was asked, over UDP and TCP")
def passed_on():
    with Named("dnsother") as w, Datagrams(w.resolver, 53, answer=foreign) as four, Datagrams(w.resolver, 53, "::", answer=foreign), \
            Service(w.resolver, 53, foreign_stream):
        w.redirect("--map", f"{NAME}={MAPPED}")
        equal(resolve(w.client, "www.example.org"), (0, ["192.0.2.1"]), "over UDP")
        equal(resolve(w.client, "www.example.org", server="fd04::53"), (0, ["192.0.2.1"]), "over UDP and IPv6")
        equal(resolve_stream(w.client, "www.example.org"), (0, ["192.0.2.1"]), "over TCP")
        equal(four.peers[0][0], "10.1.0.10", "who asked the resolver")
        equal(w.metric('dns_total{result="passed_on"}'), 3, "passed on")


@promise("a resolver that is protected is asked through the proxy, and never straight")
def protected():
    with Named("dnsprotected") as w, Datagrams(w.resolver, 53, answer=foreign) as resolver, Service(w.resolver, 53, foreign_stream) as stream:
        w.redirect("--map", f"{NAME}={MAPPED}", "--capture", RESOLVER)
        wire = w.gate.capture("client", f"host {RESOLVER}")
        equal(resolve(w.client, "www.example.org"), (0, ["192.0.2.1"]), "through the proxy")
        equal(resolve(w.client, NAME), (0, [MAPPED]), "a name of ours")
        equal({peer[0] for peer in resolver.peers}, {"10.3.0.30"}, "who asked the resolver")
        equal(resolve_stream(w.client, "www.example.org"), (0, ["192.0.2.1"]), "through the proxy over TCP")
        equal({peer[0] for peer in stream.peers}, {"10.3.0.30"}, "who connected to the resolver")
        equal(wire.stop().packets(), [], "packets between the node and the resolver")


@promise("with the redirector dead no question leaves, and after a restart a name has the same address")
def dead():
    with Named("dnsdead") as w, Datagrams(w.resolver, 53, answer=foreign) as resolver:
        routes = [{"id": str(i), "flow": f"app/{i}", "destination": f"10.200.0.{i}:80", "name": f"node{i}.example",
                   "next": {"proxy": "10.3.0.30:1080"}} for i in range(1, 9)]
        file = write_json(w.lab.path("routes.json"), {"routes": routes})
        redirector = w.redirect("--routes", file, proxy=None)
        first = {i: resolve(w.client, f"node{i}.example")[1] for i in (5, 2, 7)}
        redirector.kill()
        wire = w.gate.capture("client")
        with datagram_socket(w.client, RESOLVER) as out, datagram_socket(w.client, RESOLVER) as control:
            out.sendto(query("node5.example", A), (RESOLVER, 53))
            control.sendto(query("control.example", A), (RESOLVER, 54))
        check(wire.stop().holds("control"), "control: a datagram to another port is not seen")
        check(not wire.holds(b"node5"), "a question left although the redirector is dead")
        equal(resolver.peers, [], "questions at the resolver")
        write_json(file, {"routes": routes[::-1]})
        w.redirect("--routes", file, proxy=None)
        equal({i: resolve(w.client, f"node{i}.example")[1] for i in (7, 5, 2)}, first, "addresses after the restart")

@promise("a name whose route was withdrawn keeps its guarded alias, over a reload and over a redirector that was killed; a final dot is none")
def withdrawn():
    real = bytes(int(part) for part in REAL.split("."))
    with Named("dnsgone") as w, Datagrams(w.resolver, 53, answer=lambda data: foreign(data).replace(b"\xc0\0\2\1", real)), \
            Service(w.server, 80, echo) as service:
        route = {"id": "a", "flow": "app/a", "destination": f"{MAPPED}:80", "name": "db.example.", "next": {"proxy": "10.3.0.30:1080"}}
        kept = {**route, "id": "k", "flow": "app/k", "destination": "10.200.0.9:80", "name": "other.example"}
        file = write_json(w.lab.path("routes.json"), {"generation": 1, "routes": [route, kept]})
        redirector = w.redirect("--routes", file, proxy=None)
        equal(resolve(w.client, "db.example"), (0, [MAPPED]), "granted, by a name with a final dot")
        write_json(file, {"generation": 2, "routes": [kept]})
        redirector.wait_for_log("routes applied")
        equal(resolve(w.client, "db.example"), (0, [MAPPED]), "withdrawn")
        redirector.kill()
        write_json(file, {"generation": 3, "routes": []})
        redirector = w.redirect("--routes", file, proxy=None)
        equal(resolve(w.client, "db.example"), (0, [MAPPED]), "after the restart")
        check(is_refused(w.client, MAPPED, 80), "the alias got through")
        write_json(file, {"generation": 4, "routes": [{**kept, "destination": f"{MAPPED}:80"}]})
        wait_until(lambda: resolve(w.client, "other.example") == (0, [MAPPED]), "another name has the alias")
        equal(resolve(w.client, "db.example"), (0, []), "the name whose alias is another's")
        equal(service.peers, [], "connections at the server")


@promise("a withdrawn name is not answered with an address that is refused by itself, nor after a restart, and nobody else is asked for it")
def given_back():
    with Named("dnsback") as w, Datagrams(w.resolver, 53, answer=foreign) as resolver:
        route = {"id": "a", "flow": "app/a", "destination": f"{MAPPED}:80", "name": "db.example", "next": {"proxy": "10.3.0.30:1080"}}
        file = write_json(w.lab.path("routes.json"), {"generation": 1, "routes": [route]})
        redirector = w.redirect("--routes", file, proxy=None)
        equal(resolve(w.client, "db.example"), (0, [MAPPED]), "granted")
        wide = {"destination": "10.200.0.0/16", "reason": "no flow"}
        write_json(file, {"generation": 2, "routes": [], "refusals": [{"destination": MAPPED, "reason": "given back"}, wide]})
        wait_until(lambda: resolve(w.client, "db.example") == (0, []), "the name has no address")
        check(is_refused(w.client, MAPPED, 80), "the address got through")
        redirector.kill()
        redirector = w.redirect("--routes", file, proxy=None)
        equal(resolve(w.client, "db.example"), (0, []), "after a restart")
        write_json(file, {"generation": 3, "routes": [], "refusals": [wide]})
        redirector.wait_for_log("routes applied")
        equal(resolve(w.client, "db.example"), (0, []), "once the address has rested")
        redirector.kill()
        redirector = w.redirect("--routes", file, proxy=None)
        equal(resolve(w.client, "db.example"), (0, []), "after a restart later")
        write_json(file, {"generation": 4, "routes": [route], "refusals": [wide]})
        wait_until(lambda: resolve(w.client, "db.example") == (0, [MAPPED]), "granted again")
        equal(resolver.peers, [], "questions at the resolver")


@promise("an excluded resolver is asked straight for what is not ours, although a captured block covers it")
def excluded_resolver():
    with Named("dnsexcluded") as w, Datagrams(w.resolver, 53, answer=foreign) as resolver, Service(w.resolver, 53, foreign_stream) as stream:
        w.redirect("--capture", "10.0.0.0/8", "--exclude", RESOLVER, "--exclude", "10.1.0.0/24", "--exclude", "10.3.0.30",
                   "--map", f"{NAME}={MAPPED}")
        equal(resolve(w.client, NAME), (0, [MAPPED]), "a name of ours")
        equal(resolve(w.client, "www.example.org"), (0, ["192.0.2.1"]), "over UDP")
        equal(resolve_stream(w.client, "www.example.org"), (0, ["192.0.2.1"]), "over TCP")
        equal({peer[0] for peer in resolver.peers + stream.peers}, {"10.1.0.10"}, "who asked the resolver")


@promise("the answer to a program that has gone draws no error to the resolver, which would carry the name")
def gone():
    with Named("dnsgone") as w:
        running = w.redirect("--map", f"{NAME}={MAPPED}")
        leaves = w.gate.capture("client", "icmp[icmptype] == icmp-unreach or icmp6[icmp6type] == icmp6-destinationunreach")
        running.signal(signal.SIGSTOP)
        for server in (RESOLVER, "fd04::53"):
            with datagram_socket(w.client, server) as out:
                out.sendto(query(NAME, A), (server, 53))
        running.signal(signal.SIGCONT)

        def dropped():
            rules = w.client.run("nft", "list", "chain", "inet", "epif_redirect_15001", "guard_output").stdout
            return [re.search(kind + r" type .* counter packets (\d+) .*drop", rules)[1] for kind in ("icmp", "icmpv6")]
        wait_until(lambda: dropped() == ["1", "1"], lambda: f"the kernel's errors were made and dropped: {dropped()}")
        equal(leaves.stop().packets(), [], "errors on the wire")


@promise("a question that the kernel keeps on its device is dropped: of a socket bound to it, and to a link-local resolver; others are carried")
def kept_on_device():
    def bound_to(device, towards):
        out = datagram_socket(w.client, towards)
        out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        return out

    with Named("dnsdevice") as w, Datagrams(w.resolver, 53, answer=foreign) as four, Datagrams(w.resolver, 53, "::", answer=foreign) as six, \
            Datagrams(w.gate, 53, "::", answer=foreign) as near:
        with w.client.inside():
            index = socket.if_nametoindex("gate")
        local = re.search(r"inet6 (fe80::[0-9a-f:]+)/", w.gate.ip("-6", "address", "show", "dev", "client"))[1]
        ways = {"bound4": (lambda: bound_to("gate", RESOLVER), (RESOLVER, 53)), "bound6": (lambda: bound_to("gate", "fd04::53"), ("fd04::53", 53)),
                "linklocal": (lambda: datagram_socket(w.client, local), (local, 53, 0, index))}

        def send(word):
            for way, (make, to) in ways.items():
                with make() as out:
                    try:
                        out.sendto(query(f"{word}.{way}.example", A), to)
                    except PermissionError:
                        pass  # dropped, and the program told
        before = w.gate.capture("client")
        send("before")
        before.stop()
        for way in ways:
            check(before.holds(b"\6before" + bytes([len(way)]) + way.encode()), f"control: {way} is not seen even without rules")
        heard = len(four.peers), len(six.peers), len(near.peers)
        equal(heard, (1, 1, 1), "control: questions at the resolvers without rules")
        w.redirect("--map", f"{NAME}={MAPPED}")
        after = w.gate.capture("client")
        send("after")
        equal(resolve(w.client, "www.example.org"), (0, ["192.0.2.1"]), "a socket bound to nothing")
        equal(len(four.peers), heard[0] + 1, "questions at the resolver")
        with bound_to("gate", RESOLVER) as other:
            other.sendto(query("control.example", A), (RESOLVER, 54))
        after.stop()
        check(after.holds(b"\7control"), "control: a datagram of a bound socket to another port is not seen")
        check(not after.holds(b"\5after"), "a question left by its device, past the redirector")
        equal((len(six.peers), len(near.peers)), heard[1:], "questions at the IPv6 resolvers")
        dropped = [int(n) for n in re.findall(r"meta mark 0xe920[0-9a-f]{4} counter packets (\d+) bytes \d+ drop", w.ruleset())]
        equal(sum(dropped), len(ways), f"packets that the rules count as dropped: {dropped}")


run()
