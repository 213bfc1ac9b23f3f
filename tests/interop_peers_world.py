"""What the tests of servers, redirectors and balancers of other makes share: what must be seen through all that stands between."""
import concurrent.futures
import os
import socket

from interop_daemons import NAME, NAME6, with_name
from interop_peers_table import held_against
from interop_world import CLOSED, ECHO, FIRST, GO, GREETING, LATE, LOGIN, WORDS, Services, digest, payload, read
from lab import check, epif, equal, wait_until
from redirect_world import World, is_refused

PROXY = {4: "10.3.0.30", 6: "fd03::30"}
NOWHERE = {4: "10.2.0.99", 6: "fd02::99"}  # the proxy's own routes call them unreachable: a gate would say so only a few times a second
MAPPED_TO = {4: "10.200.0.9", 6: "10.200.0.10"}
MAPPED = MAPPED_TO[4]
BY_NAME = ("--map", f"{NAME}={MAPPED}", "--map", f"{NAME6}={MAPPED_TO[6]}")
CAPTURE = ("--capture", "10.2.0.0/24", "--capture", "[fd02::/64]:7000-7999")


class Peers(World):
    """The redirect tests' world, with the interop tests' services on its server."""

    def build(self):
        super().build()
        self.services, self.seen = Services(self), set()
        for address in NOWHERE.values():
            self.proxy_node.ip("route", "add", "unreachable", address)

    def start_proxy(self, *flags, port=1080):
        """An epif proxy that can resolve NAME."""
        proxy = self.proxy_node.start(*with_name(self.lab, [epif(), "proxy", *flags]), name=f"proxy-{len(self.lab.processes)}")
        self.proxy_node.wait_for_port(port, process=proxy)
        return proxy

    def shows(self, row, elsewhere=()):
        """The columns that were seen since the last call are those of a row of docs/interop.md; `elsewhere`: those that another promise
        sees."""
        check(self.seen.isdisjoint(elsewhere), f"{row}: {elsewhere} was seen here, too")
        held_against(row, self.seen.union(elsewhere))
        self.seen = set()

    def addresses(self):
        return {4: self.server.address, 6: self.server.address6}

    def keep(self, what, families=(4, 6), without=(), resets=True):
        """What a client that knows of no proxy must see through all that stands between, from either family; `what` names that.
        `without`: cases that it cannot do. `resets`: a refusal must end with a reset, and not just end."""
        cases = {"1 MB": self.echoes, "server speaks first": self.greets, "client ends first": self.late, "server ends first": self.first}
        jobs = [(f"IPv{family}, {name}", job, family) for family in families for name, job in cases.items() if name not in without]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            started = [(name, pool.submit(job, family, f"{what}: {name}")) for name, job, family in jobs]
            for _, done in started:
                done.result()
        for family in families:
            for address, port in ((self.addresses()[family], CLOSED), (NOWHERE[family], ECHO)):
                equal(is_refused(self.client, address, port), resets, f"{what}: a reset where nothing is, {address}:{port}")
        came_from = {peer[0].removeprefix("::ffff:") for peer in self.services.peers}
        equal(came_from, {PROXY[family] for family in families}, f"{what}: who connected to the server")
        self.services.peers.clear()
        self.seen |= {"refused", "unreachable", "1 MB by hash"} | {f"IPv{family}" for family in families}
        self.seen |= {name for name in ("client ends first", "server ends first") if name not in without}

    def by_name(self, what, families=(4, 6)):
        """The redirector answers for NAME and NAME6 with MAPPED_TO, and the proxy is asked for the name, which it alone can resolve: one
        to an IPv4 address, the other to an IPv6 one."""
        for family in families:
            reached, data = len(self.services.peers), payload(f"{what}: IPv{family}")
            with self.client.connect(MAPPED_TO[family], ECHO) as out, concurrent.futures.ThreadPoolExecutor(1) as sender:
                out.settimeout(10)
                sending = sender.submit(out.sendall, data)
                equal(digest(read(out, len(data))), digest(data), f"{what}: hash of what came back from the server's name, IPv{family}")
                sending.result()
            self.heard(data, what)
            equal([peer[0].removeprefix("::ffff:") for peer in self.services.peers[reached:]], [PROXY[family]],
                  f"{what}: who connected to the server by its name, IPv{family}")
        self.seen.add("name")

    def refuses_passwords(self, flags, proxy, what):
        """A proxy that wants LOGIN is told another password, then none."""
        for login in (["--user-file", password_file(self, "wrong")], []):
            redirector = self.redirect(*flags, *login, proxy=proxy)
            self.refuses(what, "unauthenticated")
            redirector.stop()
        self.seen.add("wrong password")

    def refuses(self, what, reason, address=None):
        """A new connection ends with a reset, is counted with its reason, and nobody reaches the server."""
        accepted = len(self.services.peers)
        check(is_refused(self.client, address or self.server.address, ECHO), f"{what}: no reset where it should be refused: {reason}")
        wait_until(lambda: self.metric(f'refused_total{{reason="{reason}"}}') == 1, f"{what}: the refusal is counted as {reason}")
        equal(len(self.services.peers), accepted, f"{what}: connections at the server")

    def ends_both(self, family, what):
        """For a program to which one end is both: it shows at once, and nothing hangs."""
        data = payload(what)
        with self.open(family, LATE) as out:
            out.sendall(data)
            out.shutdown(socket.SHUT_WR)
            equal(len(all_of(out)), 0, f"{what}: bytes after the client's end")
        with self.open(family, FIRST) as out:
            out.sendall(GO)
            equal(all_of(out), WORDS, f"{what}: all until the server's end")
            wait_until(lambda: breaks(out), f"{what}: what the client sends after the server's end meets a reset")

    def open(self, family, port):
        made = self.client.connect(self.addresses()[family], port)
        made.settimeout(10)
        return made

    def heard(self, data, what):
        wait_until(lambda: digest(data) in self.services.heard, f"{what}: the server received what was sent")

    def echoes(self, family, what, port=ECHO):
        """Both directions at once, and the end only when all is back: also through what knows no half-close."""
        data = payload(what)
        with self.open(family, port) as out, concurrent.futures.ThreadPoolExecutor(1) as sender:
            sending = sender.submit(out.sendall, data)
            back = read(out, len(data))
            sending.result()
            equal(digest(back), digest(data), f"{what}: hash of the {len(back)} bytes that came back")
        self.heard(data, what)

    def greets(self, family, what):
        with self.open(family, GREETING) as out:
            equal(read(out, len(WORDS)), WORDS, f"{what}: what the server says")

    def late(self, family, what):
        data = payload(what)
        with self.open(family, LATE) as out:
            out.sendall(data)
            out.shutdown(socket.SHUT_WR)
            back = b"".join(iter(lambda: out.recv(65536), b""))
            equal(digest(back), digest(data), f"{what}: hash of the {len(back)} bytes after the client's end")
        self.heard(data, what)

    def first(self, family, what):
        data = payload(what)
        with self.open(family, FIRST) as out:
            out.sendall(GO)
            equal(b"".join(iter(lambda: out.recv(65536), b"")), WORDS, f"{what}: all until the server's end")
            out.sendall(data)
        self.heard(data, what)


def all_of(out):
    """All until the end, in order or not."""
    parts = []
    try:
        while data := out.recv(65536):
            parts.append(data)
    except ConnectionError:
        pass
    return b"".join(parts)


def breaks(out):
    try:
        out.sendall(b"more")
    except ConnectionError:
        return True
    return False


def password_file(world, password):
    path = world.lab.path(f"user-{password}")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
        file.write(f"{LOGIN[0]}:{password}\n")
    return path
