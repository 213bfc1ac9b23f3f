"""What the proxy tests share: a proxy on loopback, servers with a behaviour, SOCKS messages made by hand."""
import contextlib
import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading

from lab import Process, check, epif

TIMEOUT = 10.0


class Proxy:
    """`epif proxy` with the given words; listens on a port of its own choice unless told otherwise."""

    def __init__(self, *words, listen="127.0.0.1:0", env=None, prefix=()):
        self.words, self.wanted, self.env, self.prefix = list(words), listen, env, list(prefix)

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="epif-proxy-test-")
        self.admin_path = os.path.join(self.folder, "admin.sock")
        listen = ["--listen", self.wanted] if self.wanted else []
        self.process = Process("proxy", [*self.prefix, epif(), "proxy", *listen, "--admin", "unix:" + self.admin_path,
                                         *self.words], os.path.join(self.folder, "log"), env=self.env)
        try:
            self.process.wait_for_log("proxy ready ")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        found = re.findall(r"listening address=(\S+):(\d+)", self.process.output())
        self.ports = [int(port) for _, port in found]
        self.port = self.ports[0]
        return self

    def __exit__(self, *failure):
        self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, port=None):
        made = socket.create_connection(("127.0.0.1", port or self.port), TIMEOUT)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def get(self, path):
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(TIMEOUT)
            admin.connect(self.admin_path)
            admin.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return read_all(admin).split(b"\r\n\r\n", 1)[1].decode()

    def metric(self, name):
        """The sum over all labels of a metric, or of the one line that begins with `name`."""
        lines = [line for line in self.get("/metrics").splitlines()
                 if line.startswith(name) and line[len(name):len(name) + 1] in (" ", "{", "")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def successor(proxy, *words, name="new", instead=None):
    """A second process with the flags of `proxy`, or others `instead`, ready when this returns."""
    process = Process("successor", [epif(), "proxy", "--listen", f"127.0.0.1:{proxy.port}", "--admin", "unix:" + proxy.admin_path,
                                    *(instead or proxy.words), "--take-over", *words], os.path.join(proxy.folder, name + ".log"))
    process.wait_for_log("proxy ready")
    return process


class Server:
    """A TCP server on loopback; `serve(connection)` runs on a thread for each connection."""

    def __init__(self, serve, address="127.0.0.1"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.create_server((address, 0), family=family, backlog=256)
        self.host, self.port = address, self.listener.getsockname()[1]
        self.serve, self.accepted, self.received = serve, 0, b""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            connection.settimeout(TIMEOUT)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            self.serve(connection)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def read_all(connection):
    parts = []
    while data := connection.recv(65536):
        parts.append(data)
    return b"".join(parts)


def read_exactly(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        check(part, f"the connection ended after {data.hex()!r}, {count} bytes were wanted")
        data += part
    return data


def is_reset(connection):
    """True if the connection ends with an error, False if it ends properly."""
    try:
        while connection.recv(65536):
            pass
        return False
    except ConnectionResetError:
        return True


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


# Messages by hand, so that an error of ours in both directions cannot hide.
def ip4(address):
    return socket.inet_aton(address)


def v4_request(port, address="127.0.0.1"):
    return b"\x04\x01" + struct.pack(">H", port) + ip4(address) + b"me\0"


def v4a_request(port, name="localhost"):
    return b"\x04\x01" + struct.pack(">H", port) + b"\0\0\0\x01" + b"me\0" + name.encode() + b"\0"


def v5_request(port, address="127.0.0.1", command=1):
    return b"\x05" + bytes([command]) + b"\0\x01" + ip4(address) + struct.pack(">H", port)


def v5_name_request(port, name="localhost"):
    return b"\x05\x01\0\x03" + bytes([len(name)]) + name.encode() + struct.pack(">H", port)


def v5_credentials(user, password):
    return b"\x01" + bytes([len(user)]) + user.encode() + bytes([len(password)]) + password.encode()


def option(kind, body):
    body += b"\0" * (-len(body) % 4)
    return struct.pack(">HH", kind, 4 + len(body)) + body


def v6_request(port, address="127.0.0.1", options=b"", command=1):
    return bytes([6, command]) + struct.pack(">HHBB", len(options), port, 0, 1) + ip4(address) + options


def v6_name_request(port, name="localhost", options=b""):
    field = name.encode() + b"\0" * (-(1 + len(name)) % 4)
    return b"\x06\x01" + struct.pack(">HHBB", len(options), port, 0, 3) + bytes([len(field)]) + field + options


def v6_reply(connection):
    """(authentication type, its options, reply code, its options); the latter two None if authentication failed."""
    version, kind, length = struct.unpack(">BBH", read_exactly(connection, 4))
    check(version == 6, f"version {version} in an authentication reply")
    first = read_exactly(connection, length)
    if kind != 0:
        return kind, first, None, None
    head = read_exactly(connection, 8)
    address = {1: 4, 4: 16}[head[7]]
    read_exactly(connection, address)
    return kind, first, head[1], read_exactly(connection, struct.unpack(">H", head[2:4])[0])


def open_v5(proxy, port, address="127.0.0.1"):
    """A connection through the proxy; fails the test if it is refused."""
    made = proxy.connect()
    made.sendall(b"\x05\x01\0" + v5_request(port, address))
    check(read_exactly(made, 2) == b"\x05\0", "no method was chosen")
    reply = read_exactly(made, 10)
    check(reply[1] == 0, f"refused with {reply[1]}")
    return made


def v5_code(proxy, request):
    """The reply code to a request, after a greeting without authentication."""
    with proxy.connect() as made:
        made.sendall(b"\x05\x01\0" + request)
        read_exactly(made, 2)
        return read_exactly(made, 2)[1]


def curl(*words):
    done = subprocess.run(["curl", "-sS", "-m", "20", *words], capture_output=True)
    return done.returncode, done.stdout, done.stderr.decode()


def digest(data):
    return hashlib.sha256(data).hexdigest()
