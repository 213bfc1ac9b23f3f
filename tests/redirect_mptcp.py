#!/usr/bin/python3
"""
          ┌─ 10.1.0.10 ── north ── 10.3.0.30 ─┐
   client ┤                                   ├ proxy 10.2.0.1 ── 10.2.0.20 server
          └─ 10.4.0.10 ── south ── 10.5.0.30 ─┘

The redirector's leg to the proxy is MPTCP: a link is lost in the middle of a transfer."""
import contextlib
import hashlib
import os
import socket
import struct

from lab import Lab, check, epif, equal, promise, run, wait_until, write_json
from proxy_world import v5_request
from redirect_world import Service, World, certificates, echo, read_all

TARGET, SIZE = "10.2.0.20", 64 << 20
FIRST, SECOND = "10.1.0.10", "10.4.0.10"


class TwoLinks(World):
    """Links of 100 Mbit/s, so that a transfer is under way long enough to be met in its middle."""
    page, protected, listens, proxy_at, lost = f"http://{TARGET}/page", "10.2.0.0/24", "0.0.0.0", "10.3.0.30", "ip"

    def build(self):
        lab = self.lab
        self.client, self.north, self.south = lab.node("client"), lab.router("north"), lab.router("south")
        self.proxy_node, self.server = lab.node("proxy"), lab.node("server")
        for router, here, there in ((self.north, "10.1.0", "10.3.0"), (self.south, "10.4.0", "10.5.0")):
            lab.link(self.client, f"{here}.10/24", router, f"{here}.1/24", rate="100mbit")
            lab.link(self.proxy_node, f"{there}.30/24", router, f"{there}.1/24", rate="100mbit")
        lab.link(self.proxy_node, "10.2.0.1/24", self.server, "10.2.0.20/24")
        self.client.ip("route", "replace", "default", "via", "10.1.0.1")
        self.client.ip("route", "add", "default", "via", "10.4.0.1", "metric", "200")
        self.client.route("10.5.0.0/24", "10.4.0.1")
        self.proxy_node.ip("route", "del", "default")
        self.proxy_node.route("10.1.0.0/24", "10.3.0.1").route("10.4.0.0/24", "10.5.0.1")

    def carry(self, *more, tls=None, mptcp=True):
        """A proxy and a redirector; `tls`: names of their certificates."""
        wish = ["--mptcp"] if mptcp else []
        if tls:
            made, ca = certificates(self.lab, "umc/node", "umc/proxy")
            words = {name: ["--cert", cert, "--key", key, "--ca", ca] for name, (cert, key) in made.items()}
            routes = self.lab.path("proxy.json")
            with open(routes, "w", encoding="ascii") as file:
                file.write('{"generation":1,"routes":[{"id":"r","source":{"identity":"umc/node"},"destination":"10.2.0.0/24"}]}')
            self.start_proxy("--tls-listen", f"{self.listens}:1083", "--allow-all", *words["umc/proxy"], *wish, port=1083)
            return self.redirect("--capture", self.protected, *words["umc/node"], *wish, *more, proxy=f"{self.proxy_at}:1083")
        self.start_proxy("--listen", f"{self.listens}:1080", "--allow-all", *wish)
        return self.redirect("--capture", self.protected, *wish, *more, proxy=f"{self.proxy_at}:1080")

    def under_way(self, count):
        """The one flow, once so many bytes of it have passed."""
        def look():
            flows = self.flows()["flows"]
            return flows and flows[0]["bytes_sent"] + flows[0]["bytes_received"] > count and flows[0]
        return wait_until(look, f"{count} bytes have passed", 30)


class TwoLinks6(TwoLinks):
    """The same with IPv6 addresses alone: fd01::10, fd04::10; fd03::30, fd05::30; fd02::1, fd02::20."""
    page, protected, listens, proxy_at, lost = "http://[fd02::20]/page", "fd02::/64", "[::]", "[fd03::30]", "ip6"

    def build(self):
        lab = self.lab
        self.client, self.north, self.south = lab.node("client"), lab.router("north"), lab.router("south")
        self.proxy_node, self.server = lab.node("proxy"), lab.node("server")
        for router, here, there in ((self.north, "fd01", "fd03"), (self.south, "fd04", "fd05")):
            lab.link(self.client, f"{here}::10/64", router, f"{here}::1/64", rate="100mbit")
            lab.link(self.proxy_node, f"{there}::30/64", router, f"{there}::1/64", rate="100mbit")
        lab.link(self.proxy_node, "fd02::1/64", self.server, "fd02::20/64")
        self.client.route("default", "fd01::1")
        self.client.ip("-6", "route", "add", "default", "via", "fd04::1", "metric", "2048")
        self.client.route("fd05::/64", "fd04::1")
        self.proxy_node.ip("-6", "route", "del", "default")
        self.proxy_node.route("fd01::/64", "fd03::1").route("fd04::/64", "fd05::1")


def lose_at_client(w):
    w.client.ip("link", "set", "north", "down")


def lose_carrier(w):
    """As when the cable is pulled. A device that is set down loses its IPv6 addresses, and programs the connections that use them."""
    w.north.ip("link", "set", "client", "down")
    wait_until(lambda: "NO-CARRIER" in w.client.ip("link", "show", "north"), "the client's link has no carrier")


def lose_at_proxy(w):
    w.proxy_node.ip("link", "set", "north", "down")


def lose_between(w):
    """Nobody is told: the router swallows what comes."""
    w.north.run("nft", f"add table {w.lost} lost; add chain {w.lost} lost f {{ type filter hook forward priority 0; policy drop; }}")


@contextlib.contextmanager
def page(w):
    """A web server with a file of SIZE random bytes; gives the hash."""
    folder = w.lab.path("web", "")
    content = os.urandom(1 << 20) * (SIZE >> 20)
    with open(folder + "page", "wb") as file:
        file.write(content)
    web = w.server.start("/usr/bin/python3", "-u", "-m", "http.server", "80", "--bind", "::", cwd=folder)
    w.server.wait_for_port(80, process=web)
    yield hashlib.sha256(content).hexdigest()
    web.stop()


def keep_upload(into):
    """A web server that takes one PUT; appends the hash of its body."""
    def serve(peer):
        head = b""
        while b"\r\n\r\n" not in head:
            head += peer.recv(65536)
        head, _, body = head.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        if b"100-continue" in head.lower():
            peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        digest, seen = hashlib.sha256(body), len(body)
        while seen < length:
            part = peer.recv(1 << 18)
            if not part:
                return
            digest.update(part)
            seen += len(part)
        into.append(digest.hexdigest())
        peer.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    return serve


def curl(w, *words, patience):
    return w.client.start("curl", "-sS", "--fail", "-Y", "1", "-y", str(patience), *words)


def file_hash(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read()).hexdigest()


def two_paths(w):
    wait_until(lambda: any(flow["mptcp_paths"] >= 2 for flow in w.flows()["flows"]), lambda: f"the flow has two paths: {w.flows()['flows']}", 10)


def download(w, lose, patience=60):
    """Gives curl's exit code, and whether what it got is whole. `patience`: seconds without a byte; where nobody tells of the loss, the
    kernel finds it by timeouts that double."""
    got = w.lab.path("got")
    with page(w) as wanted:
        program = curl(w, "-o", got, w.page, patience=patience)
        w.under_way(SIZE // 8)
        if patience > 5:
            two_paths(w)
        lose(w)
        code = program.wait(patience + 30)
        return code, os.path.exists(got) and file_hash(got) == wanted


def upload(w, lose, patience=60):
    source, kept = w.lab.path("source"), []
    with open(source, "wb") as file:
        file.write(os.urandom(1 << 20) * (SIZE >> 20))
    with Service(w.server, 80, keep_upload(kept), "::" if w.lost == "ip6" else "0.0.0.0"):
        program = curl(w, "-T", source, w.page, patience=patience)
        w.under_way(SIZE // 8)
        if patience > 5:
            two_paths(w)
        lose(w)
        code = program.wait(patience + 30)
        return code, kept == [file_hash(source)]


def no_direct_packet(w, transfer, lose):
    """The transfer, with both links of the client watched."""
    captures = [w.north.capture("client", "net 10.2.0.0/24"), w.south.capture("client", "net 10.2.0.0/24")]
    outcome = transfer(w, lose)
    w.client.ip("link", "set", "north", "up")  # for the mark that ends a capture
    w.client.ip("route", "replace", "default", "via", "10.1.0.1")
    wait_until(lambda: "state UP" in w.client.ip("link", "show", "north"), "the link is up")
    for capture in captures:
        capture.stop()
    equal([len(capture.packets()) for capture in captures], [0, 0], "packets to or from the protected network on the two links")
    return outcome


@promise("a download survives the loss of one of two links, in clear, and the lost link is used again when it is back")
def downloads():
    with TwoLinks("mpdown") as w:
        w.carry()
        equal(no_direct_packet(w, download, lose_at_client), (0, True), "exit code of curl, and all bytes are there")
        check(w.metric('mptcp_legs_total{spoke="mptcp"}') > 0, "the metric knows no MPTCP leg")
        equal(w.metric('mptcp_legs_total{spoke="tcp"}'), 0, "legs that fell back to TCP")
        with Service(w.server, 7001, echo), w.client.connect(TARGET, 7001) as out:
            out.settimeout(20)
            out.sendall(b"back")
            equal(read_all(out, 4), b"back", "echo")
            w.client.ip("link", "set", "south", "down")
            out.sendall(b"one link")
            equal(read_all(out, 8), b"one link", "echo over the link that was lost before")
            w.client.ip("link", "set", "south", "up")
            w.client.ip("route", "add", "default", "via", "10.4.0.1", "metric", "200")
            w.client.route("10.5.0.0/24", "10.4.0.1")
            out.sendall(b"two")
            equal(read_all(out, 3), b"two", "echo with both")
        os.remove(w.lab.path("got"))
        equal(download(w, lose_between), (0, True), "the same where a router between swallows all")


@promise("connections to the proxy that were begun while the link was down do not serve as plain TCP when it is back")
def begun_in_an_outage():
    with TwoLinks("mpbegun") as w, Service(w.server, 7001, echo), contextlib.ExitStack() as stack:
        w.carry("--warm", "4", "--threads", "1")
        wait_until(lambda: w.metric("pool_idle") == 4, "the pool is full")
        w.client.ip("link", "set", "north", "down")
        def left_out():
            with open("/proc/thread-self/net/netstat", encoding="ascii") as file:
                names, values = [line.split() for line in file if line.startswith("MPTcpExt")]
            return int(values[names.index("MPCapableSYNTXDrop")])
        for _ in range(3):  # each is replaced by one that has no way
            stack.enter_context(w.client.connect(TARGET, 7001)).sendall(b"x")
        with w.client.inside():
            wait_until(lambda: left_out() >= 3, "the kernel tries plain TCP", 20)
        w.client.ip("link", "set", "north", "up")
        w.client.ip("route", "replace", "default", "via", "10.1.0.1")
        wait_until(lambda: w.metric("pool_idle") == 4, "the pool is full again", 30)
        for _ in range(4):
            out = stack.enter_context(w.client.connect(TARGET, 7001))
            out.settimeout(20)
            out.sendall(b"y")
            equal(read_all(out, 1), b"y", "echo")
        equal(w.metric('mptcp_legs_total{spoke="tcp"}'), 0, "legs without MPTCP")


@promise("what stands ready when a link comes is made anew: a flow begun then survives the loss of the other link")
def begun_after_changes():
    with TwoLinks("mpanew") as w, Service(w.server, 7001, echo):
        w.carry("--warm", "4", "--threads", "1")
        w.client.ip("link", "set", "south", "down")
        wait_until(lambda: w.metric("pool_idle") == 4 and w.metric("pool_lost_total") >= 4, "the pool is full, with connections over one link alone", 30)
        lost = w.metric("pool_lost_total")
        w.client.ip("-6", "route", "add", "local", "fd09::/64", "dev", "lo", "table", "77")  # as epif's own: leads nowhere else
        w.client.ip("address", "change", f"{FIRST}/24", "dev", "north", "valid_lft", "5000", "preferred_lft", "5000")
        w.client.ip("address", "add", "192.0.2.7/32", "dev", "lo")
        equal(w.metric("pool_lost_total"), lost, "ready connections given up for what changes no way to other hosts")
        w.client.ip("link", "set", "south", "up")
        w.client.ip("route", "replace", "default", "via", "10.4.0.1", "metric", "200")
        w.client.route("10.5.0.0/24", "10.4.0.1")
        with w.client.connect(TARGET, 7001) as out:
            out.settimeout(20)
            out.sendall(b"hello")
            equal(read_all(out, 5), b"hello", "echo")
            two_paths(w)
            lose_between(w)
            out.sendall(b"still")
            equal(read_all(out, 5), b"still", "echo over the other link")


def legs(w, source, state="established"):
    """Local ports of the client's TCP connections from this address to port 1083: of MPTCP, each is one path."""
    lines = w.client.run("ss", "-Htn", "state", state, "src", source, "dport", "= :1083").stdout.splitlines()
    return {int(line.split()[2].rsplit(":", 1)[1]) for line in lines}


@promise("what a proxy holds ready to the next proxy is made anew, too, when a link comes: a flow begun then survives the loss of the other link")
def proxy_to_proxy():
    with TwoLinks("mpnext") as w, Service(w.server, 7001, echo):
        made, ca = certificates(w.lab, "umc/first", "umc/second")
        first, second = (["--cert", made[name][0], "--key", made[name][1], "--ca", ca, "--mptcp"] for name in ("umc/first", "umc/second"))
        w.start_proxy("--tls-listen", "0.0.0.0:1083", "--allow-all", *second, port=1083)
        routes = w.lab.path("first.json")
        write_json(routes, {"generation": 1, "routes": [{"id": "r", "sources": ["127.0.0.0/8"], "destination": "10.2.0.0/24",
                                                         "next": {"proxy": "10.3.0.30:1083", "identity": "umc/second"}}]})
        w.client.ip("link", "set", "south", "down")
        proxy = w.client.start(epif(), "proxy", "--listen", "127.0.0.1:1080", "--routes", routes, "--warm", "4", "--threads", "1", *first)
        w.client.wait_for_port(1080, process=proxy)
        ready = wait_until(lambda: len(made := legs(w, FIRST)) == 4 and made, "four stand ready, over one link alone")
        w.client.ip("link", "set", "south", "up")
        w.client.ip("route", "replace", "default", "via", "10.4.0.1", "metric", "200")
        w.client.route("10.5.0.0/24", "10.4.0.1")
        wait_until(lambda: len(now := legs(w, FIRST)) == 4 and not now & ready, "those that stand ready are new ones")
        wait_until(lambda: len(legs(w, SECOND)) >= 4, "each of them has a path over the other link, too")
        with w.client.connect("127.0.0.1", 1080) as out:
            out.settimeout(20)
            out.sendall(b"\x05\x01\0" + v5_request(7001, TARGET))
            equal(read_all(out, 12)[3], 0, "the answer of the proxies")
            out.sendall(b"hello")
            equal(read_all(out, 5), b"hello", "echo")
            lose_between(w)
            out.sendall(b"still")
            equal(read_all(out, 5), b"still", "echo over the other link")


@promise("an upload and a download survive the loss of a link with mutual TLS")
def with_tls():
    with TwoLinks("mptls") as w:
        w.carry(tls=True)
        equal(no_direct_packet(w, upload, lose_at_proxy), (0, True), "exit code of curl, and all bytes are there")
    with TwoLinks("mptls2") as w:
        w.carry(tls=True)
        equal(download(w, lose_at_client), (0, True), "exit code of curl, and all bytes are there")


@promise("an upload in clear survives it, too; without --mptcp the same loss breaks both directions")
def uploads():
    with TwoLinks("mpup") as w:
        w.carry()
        equal(no_direct_packet(w, upload, lose_between), (0, True), "exit code of curl, and all bytes are there")
    for transfer in (upload, download):
        with TwoLinks("mpnone") as w:
            w.carry(mptcp=False)
            code, whole = transfer(w, lose_at_client, patience=3)
            equal((code, whole), (28, False), "control: curl's exit code (too slow) over TCP, and all bytes are there")


@promise("a download and an upload survive the loss of one of two links over IPv6, in clear and with mutual TLS")
def over_ipv6():
    for transfer, lose, tls in ((download, lose_between, False), (upload, lose_carrier, True)):
        with TwoLinks6("mpsix" + transfer.__name__) as w:
            w.carry(tls=tls)
            equal(transfer(w, lose), (0, True), f"exit code of curl, and all bytes are there, {transfer.__name__}")
            equal(w.metric('mptcp_legs_total{spoke="tcp"}'), 0, "legs that fell back to TCP")
            check(w.metric('mptcp_legs_total{spoke="mptcp"}') > 0, "the metric knows no MPTCP leg")


@promise("a flow passes over both links: in clear each of them shows its bytes, with mutual TLS neither does")
def on_both_links():
    mark, blocks = b"name of a patient", 48
    for tls in (False, True):
        with TwoLinks("mptls3" if tls else "mpclear") as w, Service(w.server, 7001, echo):
            w.carry(tls=tls)
            captures = [link.capture("client", "tcp") for link in (w.north, w.south)]
            with w.client.connect(TARGET, 7001) as out:
                out.settimeout(20)
                out.sendall(mark)
                equal(read_all(out, len(mark)), mark, "echo")
                two_paths(w)
                for _ in range(blocks):  # more than one link's window takes at once
                    out.sendall(mark * 4096)
                    equal(len(read_all(out, len(mark) * 4096)), len(mark) * 4096, "bytes of the echo")
            for capture in captures:
                capture.stop()
            for name, capture in zip(("first", "second"), captures):
                check(len(capture.packets()) > blocks, f"the {name} link carried {len(capture.packets())} packets: too few to say something")
                equal(capture.holds(mark.decode()), not tls, f"the {name} link shows the bytes, TLS {tls}")


@promise("the second link is guarded as the first is: no way out of the node leaves by it")
def guarded():
    with TwoLinks("mpguard") as w:
        def all_ways(word):
            for source, device in ((FIRST, b"north"), (SECOND, b"south")):
                with w.client.inside():
                    udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
                with udp, tcp:
                    for out in (udp, tcp):
                        out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device + b"\0")
                        out.bind((source, 0))
                        out.settimeout(1)
                        with contextlib.suppress(OSError):
                            out.connect((TARGET, 4444))
                            out.send(word + device)
                w.client.run("ping", "-c", "1", "-W", "1", "-I", device.decode(), TARGET, check=False)

        def watched(word):
            captures = [w.north.capture("client", f"host {TARGET}"), w.south.capture("client", f"host {TARGET}")]
            all_ways(word)
            for capture in captures:
                capture.stop()
            return captures
        for capture, device in zip(watched(b"open-"), ("north", "south")):
            check(capture.holds("open-" + device), f"control: a datagram over {device} is not seen without rules")
        w.carry()
        equal([len(capture.packets()) for capture in watched(b"shut-")], [0, 0], "packets to the target on the two links")


@promise("the node's endpoints and limits are as before after a stop, and a node with endpoints of its own keeps them")
def endpoints():
    with TwoLinks("mpend") as w:
        def kernel(*words):
            return w.client.run("ip", "mptcp", *words).stdout
        before = kernel("limits")
        redirector = w.carry()
        wait_until(lambda: FIRST in kernel("endpoint") and SECOND in kernel("endpoint"), "both addresses are endpoints")
        check(kernel("limits") != before, "the limits are as before")
        w.client.ip("address", "add", "10.4.0.11/24", "dev", "south")
        wait_until(lambda: "10.4.0.11" in kernel("endpoint"), "a new address is an endpoint")
        w.client.ip("address", "del", "10.4.0.11/24", "dev", "south")
        wait_until(lambda: "10.4.0.11" not in kernel("endpoint"), "an address that is removed is none")
        redirector.stop()
        equal((kernel("endpoint"), kernel("limits")), ("", before), "endpoints and limits after the stop")
        w.redirect("--capture", TARGET, "--mptcp").kill()
        check(FIRST in kernel("endpoint"), "the kernel forgot the endpoints of a killed process")
        w.client.run(epif(), "redirect", "--uninstall", "--state", w.lab.state)
        equal((kernel("endpoint"), kernel("limits")), ("", before), "endpoints and limits after --uninstall")
        w.redirect("--capture", TARGET, "--mptcp")
        w.redirect("--capture", TARGET, "--take-over").stop()
        equal((kernel("endpoint"), kernel("limits")), ("", before), "after a successor without --mptcp")
        w.client.run("ip", "mptcp", "endpoint", "add", SECOND, "dev", "south", "subflow")
        mine = kernel("endpoint")
        w.redirect("--capture", TARGET, "--mptcp").stop()
        equal(kernel("endpoint"), mine, "the node's own endpoints")


@promise("a proxy without MPTCP, and a kernel without it, are told of, and the flow goes over TCP")
def fallen_back():
    with TwoLinks("mpfall") as w, Service(w.server, 7001, echo):
        def through(redirector, text):
            with w.client.connect(TARGET, 7001) as out:
                out.sendall(b"hello")
                equal(read_all(out, 5), b"hello", "echo")
            redirector.wait_for_log(text)
            equal(w.metric('mptcp_legs_total{spoke="tcp"}'), 1, "legs that fell back")
            redirector.stop()
        w.start_proxy("--listen", "0.0.0.0:1080", "--allow-all")
        through(w.redirect("--capture", TARGET, "--mptcp"), "the leg to the proxy is TCP, not MPTCP")
        w.client.sysctl("net.mptcp.enabled", 0)
        through(w.redirect("--capture", TARGET, "--mptcp"), "this kernel has no MPTCP")


if __name__ == "__main__":
    run()
