#!/usr/bin/python3
"""Each reply code where it applies, with real ICMP messages of both families.
client 10.1.0.10 fd01::10 ── proxy 10.2.0.1 fd02::1 ── gate 10.2.0.2 fd02::2 ── server 10.3.0.20 fd03::20

The gate rejects ports with one ICMP message each. 10.9.0.0/16 and fd09::/16 go round between gate and server until their TTL
ends. The proxy itself has an unreachable, a prohibited and an unknown network."""
import concurrent.futures
import json
import re
import socket
import struct

from lab import Lab, Setting, check, epif, equal, promise, run, wait_until, write_json
from proxy_datagrams import V6
from proxy_world import option, read_exactly, v6_reply
from redirect_world import is_refused

REPLIES = {"general": 1, "ruleset": 2, "network": 3, "host": 4, "refused": 5, "ttl": 6, "timed out": 9}
REJECTED = {4: {"net-unreachable": "network", "net-prohibited": "network", "host-unreachable": "host", "host-prohibited": "host",
                "admin-prohibited": "host", "port-unreachable": "refused", "prot-unreachable": "refused"},
            6: {"no-route": "network", "addr-unreachable": "host", "admin-prohibited": "host", "policy-fail": "host",
                "reject-route": "host", "port-unreachable": "refused"}}
BASE, RESET, DROPPED, ANY = 7000, 7300, 7400, 7500
SERVER = {4: "10.3.0.20", 6: "fd03::20"}
LOOP = {4: "10.9.0.1", 6: "fd09::1"}


def rejected(version, name):
    """The port whose connections the gate rejects with this message."""
    return BASE + 100 * (version == 6) + list(REJECTED[version]).index(name)


def rules():
    icmp = {4: "icmp", 6: "icmpv6"}
    lines = [f"meta nfproto ipv{version} meta l4proto {{ tcp, udp }} th dport {rejected(version, name)} reject with {icmp[version]} type {name}"
             for version in (4, 6) for name in REJECTED[version]]
    lines += [f"tcp dport {RESET} reject with tcp reset", f"tcp dport {DROPPED} drop"]
    return "table inet says {\nchain f {\ntype filter hook forward priority 0;\n" + "\n".join(lines) + "\n}\n}\n"


class World(Setting):
    def __init__(self, name, *flags):
        super().__init__(Lab(f"replies-{name}"))
        self.flags = flags

    def build(self):
        lab = self.lab
        self.client, self.node, self.gate, self.server = lab.node("client"), lab.node("proxy"), lab.router("gate"), lab.router("server")
        lab.link(self.client, "10.1.0.10/24 fd01::10/64", self.node, "10.1.0.1/24 fd01::1/64")
        lab.link(self.node, "10.2.0.1/24 fd02::1/64", self.gate, "10.2.0.2/24 fd02::2/64")
        lab.link(self.gate, "10.3.0.2/24 fd03::2/64", self.server, "10.3.0.20/24 fd03::20/64")
        for node, gateways in ((self.client, ("10.1.0.1", "fd01::1")), (self.server, ("10.3.0.2", "fd03::2"))):
            for gateway in gateways:
                node.route("default", gateway)
        for version, block in ((4, "10.9.0.0/16"), (6, "fd09::/16")):
            self.gate.route(block, SERVER[version])  # and the server's default is the gate
        for kind in ("unreachable", "prohibit", "throw"):
            for number, word in ((4, "10.20"), (6, "fd20")):
                self.node.ip(f"-{number}", "route", "add", kind, own(number, kind, block=True))
        for node in (self.gate, self.server):  # else each says it once a second
            node.sysctl("net.ipv4.icmp_ratelimit", 0)
            node.sysctl("net.ipv6.icmp.ratelimit", 0)
        path = lab.path("rules.nft")
        with open(path, "w", encoding="ascii") as file:
            file.write(rules())
        self.gate.run("nft", "-f", path)
        self.admin = lab.path("admin.sock")
        self.proxy = self.start("--listen", "127.0.0.1:1080", "--listen", "10.1.0.1:1080", "--allow-all", "--admin", "unix:" + self.admin,
                                name="open")

    def start(self, *flags, name):
        process = self.node.start(epif(), "proxy", *flags, name=name)
        process.wait_for_log("proxy ready ")
        return process

    def connect(self, port=1080):
        return self.node.connect("127.0.0.1", port, 30.0)

    def code(self, version, host, target, options=b"", port=1080):
        """The reply of SOCKS `version`, as a number."""
        packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
        kind = bytes([4 if ":" in host else 1])
        with self.connect(port) as client:
            if version == 5:
                client.sendall(b"\x05\x01\0" + b"\x05\x01\0" + kind + packed + struct.pack(">H", target))
                return read_exactly(client, 4)[3]
            client.sendall(b"\x06\x01" + struct.pack(">HHB", len(options), target, 0) + kind + packed + options)
            return v6_reply(client)[2]

    def get(self, path):
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(10)
            admin.connect(self.admin)
            admin.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: admin.recv(65536), b"")).split(b"\r\n\r\n", 1)[1].decode()


def own(version, kind, block=False):
    """An address in the network that the proxy's own table calls so."""
    number = 20 + ("unreachable", "prohibit", "throw").index(kind)
    if version == 4:
        return f"10.{number}.0.0/16" if block else f"10.{number}.0.1"
    return f"fd{number}::/16" if block else f"fd{number}::1"


@promise("each ICMP message that rejects a connection has its reply, in both families, in SOCKS5 and SOCKS6")
def by_message():
    with World("message") as world:
        for version in (4, 6):
            wanted = {name: (SERVER[version], rejected(version, name), reply) for name, reply in REJECTED[version].items()}
            wanted["a reset"] = (SERVER[version], RESET, "refused")
            wanted["a closed port"] = (SERVER[version], ANY, "refused")
            wanted["a loop of routes"] = (LOOP[version], ANY, "ttl")
            wanted["no way known"] = (own(version, "throw"), ANY, "network")
            wanted["unreachable by its own table"] = (own(version, "unreachable"), ANY, "host")
            wanted["prohibited by its own table"] = (own(version, "prohibit"), ANY, "ruleset")
            for name, (host, port, reply) in wanted.items():
                for socks in (5, 6):
                    equal(world.code(socks, host, port), REPLIES[reply], f"SOCKS{socks}, IPv{version}: {name}")
        metrics = world.get("/metrics")
        check('epif_proxy_refused_total{reason="ttl_expired"} 4' in metrics, f"the reason in metrics: {metrics}")
        refusals = world.get("/flows")
        check(re.search(r"TTL expired on the way, as 10\.(2\.0\.2|3\.0\.20) reports", refusals), f"who said so: {refusals}")


@promise("a TTL that the client asked for and that ends on the way is reply 6, also through a next proxy")
def by_ttl():
    with World("ttl") as world:
        routes = world.lab.path("routes.json")
        write_json(routes, {"routes": [{"id": block[3], "sources": ["127.0.0.1/32"], "destination": block, "next": {"proxy": "10.1.0.1:1080"}}
                                       for block in ("10.3.0.0/16", "10.9.0.0/16")]})
        world.start("--listen", "127.0.0.1:1081", "--routes", routes, name="near")
        one = option(1, b"\x81\x03\x01\0")
        for version in (4, 6):
            equal(world.code(6, SERVER[version], ANY, one), 6, f"IPv{version}: one hop")
            equal(world.code(6, SERVER[version], ANY, option(1, b"\x81\x03\x02\0")), 5, f"IPv{version}: enough hops to be refused")
        equal(world.code(6, SERVER[4], ANY, one, port=1081), 6, "the next proxy's word")
        equal(world.code(5, LOOP[4], ANY, port=1081), 6, "a loop behind the next proxy, in SOCKS5")


@promise("UDP Error: each ICMP message that meets a datagram has its code and its reporter, in both families")
def by_datagram():
    codes = {"network": 1, "host": 2, "refused": 2, "ttl": 3, "too big": 4}
    with World("datagrams") as world:
        world.gate.ip("link", "set", "server", "mtu", "1280")
        for version in (4, 6):
            wanted = {name: (SERVER[version], rejected(version, name), reply) for name, reply in REJECTED[version].items()}
            wanted["a closed port"] = (SERVER[version], ANY, "refused")
            wanted["a circle of routes"] = (LOOP[version], ANY, "ttl")
            if version == 6:
                wanted["a path that is too narrow"] = (SERVER[6], ANY, "too big")
            for name, (host, port, reply) in wanted.items():
                with V6(connection=world.connect(), options=option(1, b"\x85\x01\x02\0")) as client:
                    client.send(host, port, bytes(1400 if reply == "too big" else 4))
                    client.message()  # the confirmation
                    kind, _, about, about_port, rest = client.message()
                    equal((kind, about, about_port, rest[1]), (4, host, port, codes[reply]), f"IPv{version}: {name}")
                    reporter = socket.inet_ntop(socket.AF_INET if version == 4 else socket.AF_INET6, rest[4:])
                    # Either router may be the one at which the TTL ends.
                    check(reporter in ({4: "10.2.0.2", 6: "fd02::2"}[version], SERVER[version]), f"IPv{version}: {name}: {reporter} reports")


@promise("a connection that nobody answers is reply 9 in SOCKS6, and 4 in SOCKS5, which has no such code")
def by_silence():
    with World("silence") as world, concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = [(socks, version, pool.submit(world.code, socks, SERVER[version], DROPPED)) for socks in (5, 6) for version in (4, 6)]
        for socks, version, job in jobs:
            equal(job.result(), 4 if socks == 5 else 9, f"SOCKS{socks}, IPv{version}")


@promise("ICMP messages for a connection that stands do not end it")
def soft_afterwards():
    with World("soft") as world:
        for version in (4, 6):
            with world.server.listen(ANY + version, SERVER[version]) as listener, world.connect() as client:
                kind = bytes([1 if version == 4 else 4])
                packed = socket.inet_pton(socket.AF_INET if version == 4 else socket.AF_INET6, SERVER[version])
                client.sendall(b"\x05\x01\0" + b"\x05\x01\0" + kind + packed + struct.pack(">H", ANY + version))
                equal(read_exactly(client, 4)[3], 0, f"IPv{version}")
                read_exactly(client, 8 if version == 4 else 20)  # the rest of the bound address and port
                peer, _ = listener.accept()
                icmp = "icmp type host-unreachable" if version == 4 else "icmpv6 type addr-unreachable"
                world.gate.run("nft", f"insert rule inet says f tcp dport {ANY + version} counter reject with {icmp}")
                client.sendall(b"lost at first")
                wait_until(lambda: rejects(world) > 0, "the gate rejects a segment of the connection")
                world.gate.run("nft", "flush", "chain", "inet", "says", "f")
                equal(read_exactly(peer, 13), b"lost at first", f"what arrives once the way is free, IPv{version}")
                peer.close()


def rejects(world):
    listing = json.loads(world.gate.run("nft", "-j", "list", "chain", "inet", "says", "f").stdout)["nftables"]
    counters = [part["counter"]["packets"] for entry in listing for part in entry.get("rule", {}).get("expr", []) if "counter" in part]
    return max(counters, default=0)


@promise("a program behind a redirector is reset, and the redirector's reasons say what the proxy met")
def behind_a_redirector():
    with World("redirected") as world:
        admin = world.lab.path("redirect.sock")
        redirector = world.client.start(epif(), "redirect", "--proxy", "10.1.0.1:1080", "--capture", "10.9.0.0/16", "--capture",
                                        "10.3.0.0/16", "--state", world.lab.state, "--admin", "unix:" + admin, name="redirect")
        redirector.wait_for_log("captures")
        for host, port in ((LOOP[4], ANY), (SERVER[4], rejected(4, "net-prohibited"))):
            check(is_refused(world.client, host, port), f"{host}:{port} is not refused")
        world.admin = admin
        refusals = world.get("/flows")
        for reason in ("ttl_expired", "net_unreachable"):
            wait_until(lambda reason=reason: f'"reason":"{reason}"' in world.get("/flows"), lambda reason=reason: f"{reason}: {refusals}")


run()
