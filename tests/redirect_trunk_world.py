"""What the tests of trunks share: client ── gate ── server and proxy, with a first flow carried and a trunk that stands."""
import hashlib
import random
import socket
import threading

from lab import equal, wait_until, write_json
from redirect_world import Service, World, echo, read_all

TARGET, PROXY = "10.2.0.20", "10.3.0.30:1080"
BULK, TURNS = 51_000_000, 3
NOISE = random.Random(7).randbytes(1_000_000)


def said(out, word):
    out.sendall(word)
    equal(read_all(out, len(word)), word, "echo")


class Trunked(World):
    """A World whose proxy and redirector have carried a first flow, and whose trunk stands."""

    def __init__(self, name, *flags, proxy_flags=(), routes=None, threads=1):
        super().__init__(name, proxy=False)
        self.flags, self.proxy_flags, self.routes, self.threads = flags, proxy_flags, routes, threads

    def build(self):
        super().build()
        self.proxy_admin = self.lab.path("proxy.sock")
        self.proxy = self.begin_proxy()
        self.service = Service(self.server, 7001, echo)
        self.path = self.lab.path("routes.json")
        if self.routes:
            self.grant(*self.routes)
            self.redirector = self.redirect("--routes", self.path, "--threads", str(self.threads), *self.flags, proxy=None)
        else:
            self.redirector = self.redirect("--capture", TARGET, "--threads", str(self.threads), *self.flags)
        self.until_trunk()

    def take_down(self):
        self.service.close()
        super().take_down()

    def begin_proxy(self, *more):
        return self.start_proxy("--listen", PROXY, "--allow-all", "--admin", f"unix:{self.proxy_admin}", *self.proxy_flags, *more)

    def grant(self, *ports):
        write_json(self.path, {"routes": [{"id": f"to-{port}", "destination": f"{TARGET}:{port}", "next": {"proxy": PROXY}} for port in ports]})

    def flow(self, port=7001, word=b"hello"):
        out = self.client.connect(TARGET, port, timeout=20)
        if word:
            said(out, word)
        return out

    def until_moved(self, out, count):
        """Sends on until so many flows have moved: where a slow machine reads piece by piece, bulk shows late."""
        def moved():
            out.sendall(NOISE)
            return self.metric("trunk_moved_total") >= count
        wait_until(moved, f"{count} flows have moved", 20)

    def until_trunk(self):
        def stands():
            with self.flow():
                return self.metric("trunks") > 0
        wait_until(stands, "a trunk stands", 20)

    def at_proxy(self, name):
        for line in self.ask("/metrics", self.proxy_admin).splitlines():
            if line.startswith("epif_proxy_" + name + " "):
                return int(line.rpartition(" ")[2])
        return 0

    def legs(self):
        """Connections to the proxy that stand."""
        return len(self.proxy_node.run("ss", "-Htn", "state", "established", "sport", "=", ":1080").stdout.splitlines())


def pour(peer, size):
    """Sends `size` bytes and their end; gives their hash."""
    made, left = hashlib.sha256(), size
    while left > 0:
        piece = NOISE[:min(left, len(NOISE))]
        peer.sendall(piece)
        made.update(piece)
        left -= len(piece)
    peer.shutdown(socket.SHUT_WR)
    return made.hexdigest()


def drink(peer):
    """Hash and size of all until the end."""
    made, size = hashlib.sha256(), 0
    while piece := peer.recv(1 << 20):
        made.update(piece)
        size += len(piece)
    return made.hexdigest(), size


def both_ways(heard, size):
    """A service that sends `size` bytes, notes what it gets meanwhile in `heard`."""
    def serve(peer):
        got = []
        reader = threading.Thread(target=lambda: got.append(drink(peer)))
        reader.start()
        pour(peer, size)
        reader.join()
        heard.extend(got)
    return serve


def exchange(out, heard, size):
    """The client's side of both_ways(); checks both hashes."""
    out.settimeout(60)
    sent = []
    writer = threading.Thread(target=lambda: sent.append(pour(out, size)))
    writer.start()
    got = drink(out)
    writer.join()
    wait_until(lambda: heard, "the server has it all", 30)
    wanted = hashlib.sha256()
    for _ in range(size // len(NOISE)):
        wanted.update(NOISE)
    equal(got, (wanted.hexdigest(), size), "what came from the server")
    equal(heard, [(wanted.hexdigest(), size)], "what came to the server")
