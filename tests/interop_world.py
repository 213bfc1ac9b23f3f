"""What the interop tests share: a proxy between a client and a server that cannot reach each other, and a run of a client."""
import contextlib
import hashlib
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import threading

from lab import Failure, Lab, Service, Setting, epif, repository, wait_until

DEADLINE_S = 20.0
MEGABYTE = 1 << 20
CLOSE_WAIT = 8  # tcp_states.h: the other side has ended
ECHO, LATE, FIRST, GREETING, HTTP, CLOSED, UNTOUCHED = 7001, 7002, 7003, 7004, 7080, 7009, 7008
LOGIN = ("ann", "secret")
GO, WORDS = b"go\n", b"words of the server\n"
PROGRAMS = repository / "tests/interop"


class World(Setting):
    """
    client 10.1.0.10 fd01::10 ── proxy 10.1.0.1 fd01::1, 10.2.0.1 fd02::1 ── server 10.2.0.20 fd02::20

    Nothing is forwarded: what arrives at the server came through the proxy. Port 1080 is open to all, 1081 wants a password.
    10.9.0.1 is a host that the proxy cannot reach, 10.8.0.1 lies in a network that it cannot reach. The client knows the
    names near4 and near6, the proxy far4, far6 and far: so a name tells who resolved it.
    """
    address = {4: "10.2.0.20", 6: "fd02::20"}

    def __init__(self, name, proxy=True):
        super().__init__(Lab(f"interop-{name}"))
        self.proxy_wanted = proxy

    def build(self):
        lab = self.lab
        self.client, self.gate, self.server = lab.node("client"), lab.node("proxy"), lab.node("server")
        lab.link(self.client, "10.1.0.10/24 fd01::10/64", self.gate, "10.1.0.1/24 fd01::1/64")
        lab.link(self.gate, "10.2.0.1/24 fd02::1/64", self.server, "10.2.0.20/24 fd02::20/64")
        self.gate.ip("route", "add", "unreachable", "10.9.0.0/24")
        for node, names in ((self.client, "10.2.0.20 near4\nfd02::20 near6\n"),
                            (self.gate, "10.2.0.20 far4 far\nfd02::20 far6 far\n"), (self.server, "")):
            self.file(f"hosts-{node.name}", "127.0.0.1 localhost\n" + names)
        self.services = Services(self)
        if self.proxy_wanted:
            self.open = self.start_proxy("--listen", "10.1.0.1:1080", "--listen", "[fd01::1]:1080", name="open")
            self.locked = self.start_proxy("--listen", "10.1.0.1:1081", "--listen", "[fd01::1]:1081", "--user", ":".join(LOGIN),
                                           name="locked")

    def named(self, node, *words):
        """The command line that runs `words` where /etc/hosts holds the names that `node` knows."""
        hosts = self.lab.path(f"hosts-{node.name}")
        return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts, *map(str, words)]

    def start_proxy(self, *flags, name, node=None):
        node = node or self.gate
        admin = self.lab.path(name + ".sock")
        process = node.start(*self.named(node, epif(), "proxy", "--allow-all", "--admin", "unix:" + admin, *flags), name=name)
        process.wait_for_log("ready")
        process.admin = admin
        return process

    def nothing_left(self):
        """Every client is gone, so every flow must be."""
        for proxy in (self.open, self.locked):
            wait_until(lambda proxy=proxy: '"flows":[]' in admin_get(proxy, "/flows"),
                       lambda proxy=proxy: "no flow is left, but there is " + admin_get(proxy, "/flows"))

    def file(self, name, text, mode=0o644):
        """A file in the state folder, at once whole: several cases may write the same one while others read it."""
        path = self.lab.path(name)
        new = f"{path}.{threading.get_ident()}"
        with open(os.open(new, os.O_WRONLY | os.O_CREAT, mode), "w", encoding="ascii") as file:
            file.write(text)
        os.replace(new, path)
        return path


class Services:
    """What listens on the server, on both families. `heard` holds the SHA-256 of all that each connection received,
    `peers` the addresses that connected, `touched` those that connected to UNTOUCHED, where nobody may."""

    def __init__(self, world):
        self.world, self.heard, self.peers, self.touched = world, set(), [], []
        for port, serve in ((ECHO, self._echo), (LATE, self._late), (FIRST, self._first), (GREETING, self._greeting), (HTTP, self._http),
                            (UNTOUCHED, self._echo)):
            with world.server.inside():
                listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256)
            service = Service(listener, lambda peer, serve=serve: self._patient(peer, serve),
                              self.touched if port == UNTOUCHED else self.peers)
            world.lab.at_end(service.close)

    def start_udp(self):
        """A UDP echo on the port of the TCP echo, on both families."""
        with self.world.server.inside():
            echo = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            echo.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            echo.bind(("::", ECHO))
        threading.Thread(target=self._answer, args=(echo,), daemon=True).start()

    def _answer(self, echo):
        while True:
            echo.sendto(*echo.recvfrom(65536))

    @staticmethod
    def _patient(peer, serve):
        """What breaks here shows in the case that meets it, with what its client said."""
        peer.settimeout(DEADLINE_S)
        serve(peer)

    def _note(self, parts):
        self.heard.add(digest(b"".join(parts)))

    def _echo(self, peer):
        parts = []
        while data := peer.recv(65536):
            parts.append(data)
            peer.sendall(data)
        self._note(parts)

    def _late(self, peer):
        """Says nothing before the client's end, then all that it got."""
        parts = list(iter(lambda: peer.recv(65536), b""))
        self._note(parts)
        peer.sendall(b"".join(parts))

    def _first(self, peer):
        """Asked to, says its words and ends, then listens on."""
        read(peer, len(GO))
        peer.sendall(WORDS)
        peer.shutdown(socket.SHUT_WR)
        self._note(list(iter(lambda: peer.recv(65536), b"")))

    def _greeting(self, peer):
        peer.sendall(WORDS)
        self._echo(peer)

    def _http(self, peer):
        """One POST, answered with its body."""
        data = b""
        while b"\r\n\r\n" not in data and (more := peer.recv(65536)):
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)[1])
        while len(body) < length and (more := peer.recv(65536)):
            body += more
        self._note([body])
        peer.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


class Talk:
    """A client program at work in a node; it and all that it started are killed at the deadline."""

    def __init__(self, node, words, env=None):
        self.words = list(map(str, words))
        self._popen = subprocess.Popen(node.enter(*self.words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       env={**os.environ, **(env or {})}, start_new_session=True)
        self.pid, self.late, self.seen = self._popen.pid, False, b""
        self._timer = threading.Timer(DEADLINE_S, self._expire)
        self._timer.start()

    def _expire(self):
        self.late = True
        self.kill()

    def kill(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def write(self, data):
        """Some bytes of stdin, at once. That the program is gone shows when it is read from."""
        with contextlib.suppress(BrokenPipeError):
            self._popen.stdin.write(data)
            self._popen.stdin.flush()

    def read(self, count):
        """The next `count` bytes of stdout, or fewer at its end."""
        data = b""
        while len(data) < count and (more := os.read(self._popen.stdout.fileno(), count - len(data))):
            data += more
        self.seen += data
        return data

    def finish(self, data=b""):
        """Sends the rest of stdin, and gives (exit code, all of stdout, all of stderr)."""
        try:
            out, err = self._popen.communicate(data)
        except BrokenPipeError:
            out, err = self._popen.communicate()
        return self._popen.returncode, self.seen + out, err.decode(errors="replace")

    def has_socket_in(self, state):
        """True if a TCP socket of the program (or of what it started) is in a state of tcp_states.h."""
        wanted = f"{state:02X}"
        for pid in _session(self.pid):
            try:
                inodes = {link[8:-1] for link in map(os.readlink, _descriptors(pid)) if link.startswith("socket:[")}
                for table in ("tcp", "tcp6"):
                    with open(f"/proc/{pid}/net/{table}", encoding="ascii") as file:
                        fields = [line.split() for line in file]
                    if any(f[3] == wanted and f[9] in inodes for f in fields[1:]):
                        return True
            except OSError:
                continue  # gone meanwhile
        return False

    def __enter__(self):
        return self

    def __exit__(self, kind, failure, trace):
        self._timer.cancel()
        self.kill()
        self._popen.communicate()
        if failure is not None and self.late:
            raise Failure(f"no end within {DEADLINE_S:g} s; {failure}") from failure


def _descriptors(pid):
    return [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]


def _session(leader):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:
                    if int(stat.read().rpartition(")")[2].split()[3]) == leader:
                        found.append(int(entry))
            except OSError:
                pass
    return found


def read(connection, count):
    """The next `count` bytes, or fewer at the end."""
    data = bytearray()
    while len(data) < count and (more := connection.recv(count - len(data))):
        data += more
    return bytes(data)


def admin_get(process, path):
    """Body of a GET on the admin socket of a proxy that World.start_proxy started."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.settimeout(DEADLINE_S)
        admin.connect(process.admin)
        admin.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return b"".join(iter(lambda: admin.recv(65536), b"")).partition(b"\r\n\r\n")[2].decode()


def digest(data):
    return hashlib.sha256(data).hexdigest()


def payload(seed, size=MEGABYTE):
    """Bytes of their own for each case, so that a hash tells which connection it came from."""
    return random.Random(str(seed)).randbytes(size)


def shown(words):
    return shlex.join(map(str, words))

