"""What the redirect tests share: a node with an uplink, a proxy, a server behind a gate."""
import json
import os
import re
import socket
import struct
import sys
import threading

import lab
from lab import Lab, Setting, check, echo, epif, wait_until

LISTEN = 15001


def own_mark(node):
    """The mark of the redirector's own packets, as 4 bytes for SO_MARK; it differs at each start, so the rules are asked.
    Without a redirector the one that it had in earlier versions."""
    rules = node.run("nft", "list", "ruleset").stdout
    found = re.search(r"meta mark (0x[0-9a-f]+) ip6? daddr", rules)
    return int(found.group(1) if found else "0xe91f", 16).to_bytes(4, sys.byteorder)


class World(Setting):
    """
    client 10.1.0.10 fd01::10 ── gate ── 10.2.0.20 fd02::20 server
                                   └──── 10.3.0.30 fd03::30 proxy     (epif proxy --allow-all, port 1080)
    """

    def __init__(self, name, proxy=True):
        super().__init__(Lab(name))
        self.proxy_wanted = proxy

    def build(self):
        lab = self.lab
        self.client, self.gate = lab.node("client"), lab.router("gate")
        self.server, self.proxy_node = lab.node("server"), lab.node("proxy")
        lab.link(self.client, "10.1.0.10/24 fd01::10/64", self.gate, "10.1.0.1/24 fd01::1/64")
        lab.link(self.server, "10.2.0.20/24 fd02::20/64", self.gate, "10.2.0.1/24 fd02::1/64")
        lab.link(self.proxy_node, "10.3.0.30/24 fd03::30/64", self.gate, "10.3.0.1/24 fd03::1/64")
        if self.proxy_wanted:
            self.proxy = self.start_proxy("--listen", "10.3.0.30:1080", "--allow-all")

    def start_proxy(self, *flags, port=1080):
        proxy = self.proxy_node.start(epif(), "proxy", *flags, name=f"proxy-{len(self.lab.processes)}")
        self.proxy_node.wait_for_port(port, process=proxy)
        return proxy

    def redirect(self, *flags, proxy="10.3.0.30:1080", node=None, ready=True, port=LISTEN, prefix=()):
        """A running redirector whose rules are in place, started through the words of `prefix`. Its state and admin socket lie in the lab's
        folder."""
        node = node or self.client
        self.admin = self.lab.path(f"redirect-{len(self.lab.processes)}.sock")
        process = node.start(*prefix, epif(), "redirect", *(["--proxy", proxy] if proxy else []), *flags, "--state", self.lab.state,
                             "--admin", f"unix:{self.admin}", name=f"redirect-{len(self.lab.processes)}")
        if ready:
            process.wait_for_log("captures")
        return process

    def ask(self, path, admin=None):
        """Body of a GET on the redirector's admin socket."""
        with socket.socket(socket.AF_UNIX) as out:
            out.settimeout(5)
            out.connect(admin or self.admin)
            out.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            text = b"".join(iter(lambda: out.recv(65536), b""))
        head, _, body = text.partition(b"\r\n\r\n")
        check(b" 200 " in head.splitlines()[0], f"GET {path}: {head[:80]!r}")
        return body.decode()

    def flows(self):
        return json.loads(self.ask("/flows"))

    def metric(self, name):
        """Value of the metric line that begins with `name` (labels included)."""
        for line in self.ask("/metrics").splitlines():
            if line.rpartition(" ")[0] == "epif_redirect_" + name:
                return int(line.rpartition(" ")[2])
        return 0

    def ruleset(self):
        return self.client.run("nft", "list", "ruleset").stdout


class Gateway(World):
    """inside ── client (a gateway) ── gate ...: a host behind the client, which forwards for it."""

    def build(self):
        super().build()
        self.inside = self.lab.node("inside")
        self.lab.link(self.inside, "10.7.0.5/24 fd07::5/64", self.client, "10.7.0.1/24 fd07::1/64")
        self.inside.route("default", "10.7.0.1").route("default", "fd07::1")
        self.client.sysctl("net.ipv4.ip_forward", 1).sysctl("net.ipv6.conf.all.forwarding", 1)
        self.client.route("default", "10.1.0.1").route("default", "fd01::1")  # forwarding hosts forget what routers told
        self.inside_device = self.inside.ip("-o", "route", "get", "10.7.0.1").split(" dev ")[1].split()[0]
        self.gate.route("10.7.0.0/24", "10.1.0.10").route("fd07::/64", "fd01::10")


class Service(lab.Service):
    """Listens on `port` of a node."""

    def __init__(self, node, port, serve, address="0.0.0.0"):
        super().__init__(node.listen(port, address), serve)


class Datagrams:
    """A UDP echo service of a node; `peers` are the senders."""

    def __init__(self, node, port, address="0.0.0.0", answer=lambda data: data):
        self.socket = datagram_socket(node, address)
        self.socket.settimeout(None)
        self.socket.bind((address, port))
        self.peers, self._answer = [], answer
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(65536)
                self.peers.append(peer)
                self.socket.sendto(self._answer(data), peer)
            except OSError:
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def datagram_socket(node, towards):
    """A UDP socket of a node, of the family of the address."""
    with node.inside():
        made = socket.socket(socket.AF_INET6 if ":" in towards else socket.AF_INET, socket.SOCK_DGRAM)
    if ":" in towards:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.settimeout(5.0)
    return made


def ask(out, data, to):
    """Sends a datagram and gives the answer and its sender. The network may lose one under load: it is sent once more, not oftener."""
    out.sendto(data, to)
    patience = out.gettimeout()
    try:
        out.settimeout(patience / 2)
        answer, sender = out.recvfrom(65536)
    except TimeoutError:
        print(f"      a datagram to {to[0]} was lost once", flush=True)
        out.sendto(data, to)
        answer, sender = out.recvfrom(65536)
    finally:
        out.settimeout(patience)
    return answer, sender[:2]


def danted(w, node, address, port):
    """A running dante-server that serves everybody without a password."""
    device = node.ip("-o", "address", "show", "to", address).split()[1]
    config = w.lab.path("danted.conf")
    with open(config, "w", encoding="ascii") as file:
        file.write(f"logoutput: stderr\ninternal: {address} port = {port}\nexternal: {device}\n"
                   "clientmethod: none\nsocksmethod: none\nuser.privileged: root\nuser.unprivileged: nobody\n"
                   "client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }\nsocks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }\n")
    server = node.start("danted", "-f", config, "-p", w.lab.path("danted.pid"))
    node.wait_for_port(port, process=server)
    return server


def kernel_count(node, name):
    """What the node's kernel has counted under this name of /proc/net/netstat."""
    lines = node.run("cat", "/proc/net/netstat").stdout.splitlines()
    for names, values in zip(lines[::2], lines[1::2]):
        counts = dict(zip(names.split(), values.split()))
        if name in counts:
            return int(counts[name])
    raise AssertionError(f"this kernel does not count {name}")


def greet(peer):
    peer.sendall(b"220 hello\r\n")
    echo(peer)


def read_all(peer, count):
    data = b""
    while len(data) < count and (more := peer.recv(count - len(data))):
        data += more
    return data


def is_reset(out, within=5.0):
    """True if the connection ends with an error, False if it ends in order."""
    out.settimeout(within)
    try:
        while out.recv(65536):
            pass
    except ConnectionError:
        return True
    return False


def is_refused(node, address, port):
    """True if a new connection ends with an error; the reset may come while connect() still waits."""
    try:
        with node.connect(address, port) as out:
            return is_reset(out)
    except ConnectionError:
        return True


def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def certificates(lab, *names):
    """A CA and, for each "domain/node", FILE.pem and FILE.key in the lab's folder; gives {name: (cert, key)} and the CA's file."""
    node = lab.nodes[0]
    ca, ca_key = lab.path("ca.pem"), lab.path("ca.key")
    node.run("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", ca_key, "-out", ca, "-days", "2",
             "-subj", f"/CN=test {os.path.basename(ca)}", "-addext", "basicConstraints=critical,CA:TRUE")
    made = {}
    for name in names:
        stem = lab.path(name.replace("/", "-"))
        node.run("openssl", "req", "-newkey", "ed25519", "-nodes", "-keyout", stem + ".key", "-out", stem + ".csr", "-subj", "/CN=x")
        with open(stem + ".ext", "w", encoding="ascii") as file:
            file.write(f"subjectAltName=URI:epif://{name}\n")
        node.run("openssl", "x509", "-req", "-in", stem + ".csr", "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2",
                 "-extfile", stem + ".ext", "-out", stem + ".pem")
        made[name] = (stem + ".pem", stem + ".key")
    return made, ca


__all__ = ["Datagrams", "LISTEN", "Service", "World", "ask", "certificates", "danted", "datagram_socket", "echo", "greet", "is_refused", "is_reset", "kernel_count", "read_all", "reset", "wait_until"]
