"""The rows of the article's Table II that are no time of a request: ports, reconfiguration, dynamicity, security, tried on each method.

Eight servers (addresses of the one server node) behind one proxy; a ninth is added while a transfer runs."""
import contextlib
import os
import re
import socket
import ssl
import time

from campaign import Step
from competitor import Base
from competitor._ours import Ours
from lab import write_json
from world import HTTP_PORT, PROXY, Unfit

from . import throughput

TITLE = "Ports, reconfiguration, dynamicity, security (Table II)"
PLACE = 35
SETTING = ""
COLUMNS = {"ports": "proxy's ports for 8 servers", "reconfigure_ms": "a ninth server answers after, ms", "survived": "running transfer survives (1: yes)",
           "reached": "of 8 servers reached with the proxy as set up for one", "stranger_refused": "stranger refused (1: yes)",
           "unchanged_passes": "unchanged program passes with it (1: yes)"}
NOTE = ("NGINX as the article uses it: http, one port for each server, reloaded on change; its clients show who they are by TLS certificates. "
        "SOCKS5 and SOCKS6 plain: epif in clear, with name and password. epif: as shipped, with certificates.")
STARTS = True
FIGURE = False
SERVERS = 8
WAIT_S = 5.0
CLIENT_CIDR = "10.71.0.10/32"
CAPTURED = "10.73.0.16/28"
ROUNDS = {"quick": 1, "full": 3, "paper": 5}


def address(number):
    return f"10.73.0.{20 + number}"


def get(world, where, port, timeout=1.0):
    """True if an HTTP request from the client is answered with 200."""
    try:
        with world.client.connect(where, port, timeout) as out:
            out.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return out.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


class Nginx(Base):
    title = "NGINX"
    needs = ("nginx",)
    first_port = 9000
    ports = {"proxy": range(first_port, first_port + 9)}

    def where(self, number):
        return PROXY, self.first_port + number

    def configure(self, world, numbers, tls=""):
        path = world.lab.path("pairs.conf")
        state = world.lab.state
        pairs = "\n".join(f"  server {{ listen {PROXY}:{self.first_port + n}{' ssl' if tls else ''}; {tls} location / "
                          f"{{ proxy_pass http://{address(n)}:{HTTP_PORT}; }} }}" for n in numbers)
        with open(path, "w", encoding="ascii") as file:
            file.write(f"""daemon off; user root; worker_processes 1; pid {state}/pairs.pid; error_log {state}/pairs-error.log; events {{ }}
http {{ access_log off; client_body_temp_path {state}/p1; proxy_temp_path {state}/p2; fastcgi_temp_path {state}/p3; uwsgi_temp_path {state}/p4;
  scgi_temp_path {state}/p5;
{pairs} }}
""")
        return path

    def serve(self, world, numbers):
        config = self.configure(world, numbers)
        self.run(world.proxy, "nginx", "-c", config, "-p", world.lab.state, port=self.first_port + numbers[0])

    def add(self, world, numbers):
        config = self.configure(world, numbers)
        world.proxy.run("nginx", "-c", config, "-p", world.lab.state, "-s", "reload")

    def serve_any(self, world):
        """As set up for one pair: the port leads to its one server, whatever is asked."""
        self.serve(world, [0])

    def serve_known(self, world):
        cert, key, ca = world.certificates("proxy/node")["proxy/node"]
        config = self.configure(world, [0], f"ssl_certificate {cert}; ssl_certificate_key {key}; ssl_client_certificate {ca}; ssl_verify_client on;")
        self.run(world.proxy, "nginx", "-c", config, "-p", world.lab.state, port=self.first_port)

    def stranger(self, world):
        """A program that shows nothing, at the proxy's own port: it speaks TLS, but has no certificate."""
        return world.client.run("curl", "-skf", "-m", "2", f"https://{PROXY}:{self.first_port}/", check=False).returncode == 0


class Socks(Ours):
    version = "6"

    def where(self, number):
        return address(number), HTTP_PORT

    def routes(self, world, numbers):
        way = {"peers": ["client/node"]} if self.tls else {"sources": [CLIENT_CIDR]}
        return write_json(world.lab.path("routes.json"), {"node": "proxy/node", "routes": [
            {"id": f"pair-{n}", "destination": f"{address(n)}:{HTTP_PORT}", **way} for n in numbers]})

    def begin(self, world, *rules, known=()):
        self.rules, self.proxy_flags = rules, known
        self.redirect_flags = ("--capture", CAPTURED, "--socks", self.version, *known) + (() if self.tls else ("--warm", "0", "--trunk", "off"))
        Ours.start(self, world)

    def serve(self, world, numbers):
        self.begin(world, "--routes", self.routes(world, numbers))

    def add(self, world, numbers):
        self.routes(world, numbers)

    def serve_any(self, world):
        self.begin(world, "--allow-all")

    def serve_known(self, world):
        secret = world.lab.path("users")
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write("bench:a word nobody else knows\n")
        self.begin(world, "--allow-all", known=() if self.tls else ("--user-file", secret))

    def stranger(self, world):
        """A program that knows the proxy, but neither word nor certificate: it speaks TLS where the proxy does."""
        if self.tls:
            return speaks_socks(world, None)
        return world.client.run("curl", "-sf", "-m", "2", "--socks5", f"{PROXY}:1080", f"http://{address(0)}/", check=False).returncode == 0


def speaks_socks(world, identity):
    """True if the proxy answers a SOCKS5 greeting over TLS. `identity`: files of a certificate and its key, or None."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if identity:
        context.load_cert_chain(*identity)
    try:
        with world.client.connect(PROXY, 1083, 2) as plain, context.wrap_socket(plain) as out:
            out.sendall(b"\x05\x01\x00")
            return out.recv(2) == b"\x05\x00"
    except OSError:  # ssl.SSLError is one
        return False


RIVALS = {"nginx": Nginx, "socks5": type("Socks5", (Socks,), {"title": "SOCKS5", "version": "5"}),
          "socks6": type("Socks6", (Socks,), {"title": "SOCKS6"}), "epif": type("Epif", (Socks,), {"title": "epif", "tls": True})}
TITLES = {name: made.title for name, made in RIVALS.items()}


def steps(lengths, topologies, competitors):
    return [Step("comparison", name, "", 1, r) for r in range(ROUNDS[lengths.kind]) for name in RIVALS] if "epif" in competitors else []


def seconds(step, lengths):
    return 0.5  # three starts


def once(world, rival, step, lengths):
    addresses = world.server.ip("address", "show", "dev", "cs")
    for number in range(1, SERVERS + 1):
        if f"{address(number)}/" not in addresses:
            world.server.ip("address", "add", f"{address(number)}/24", "dev", "cs")
            world.proxy.ip("route", "replace", f"{address(number)}/32", "via", "10.72.0.20")
    return {**ports_and_change(world, rival), **dynamicity(world, rival), **security(world, rival)}


@contextlib.contextmanager
def running(rival, world, serve, *words):
    Base.start(rival, world)
    try:
        serve(world, *words)
        yield
    finally:
        rival.stop(world)


def ports_and_change(world, rival):
    pairs = list(range(SERVERS))
    with running(rival, world, rival.serve, pairs):
        missed = [n for n in pairs if not get(world, *rival.where(n))]
        if missed:
            raise Unfit(f"no answer from {', '.join(address(n) for n in missed)}")
        ports = len(set(re.findall(r"\S+:(\d+)\s", world.proxy.run("ss", "-Hltn").stdout)))
        with transfer(world, *rival.where(0)) as rest:
            started = time.monotonic()
            rival.add(world, [*pairs, SERVERS])
            while not get(world, *rival.where(SERVERS), timeout=WAIT_S):
                if time.monotonic() - started > WAIT_S:
                    raise Unfit(f"the ninth server does not answer within {WAIT_S:g} s of the change")
            after = (time.monotonic() - started) * 1000
            survived = rest()
    return {"ports": ports, "reconfigure_ms": after, "survived": int(survived)}


@contextlib.contextmanager
def transfer(world, where, port):
    """A download that has begun; yields a function that reads the rest and tells whether all came."""
    mib = 64
    throughput.zeros(world, mib)
    with world.client.connect(where, port, WAIT_S) as out:
        out.sendall(f"GET /{throughput.FILE} HTTP/1.0\r\n\r\n".encode("ascii"))
        head = out.recv(65536)
        got = len(head) - head.index(b"\r\n\r\n") - 4

        def rest():
            nonlocal got
            with contextlib.suppress(OSError, socket.timeout):
                while data := out.recv(1 << 20):
                    got += len(data)
            return got == mib * throughput.MIB
        yield rest


def dynamicity(world, rival):
    with running(rival, world, rival.serve_any):
        return {"reached": sum(get(world, *rival.where(n)) for n in range(SERVERS))}


def security(world, rival):
    with running(rival, world, rival.serve_known):
        return {"stranger_refused": int(not rival.stranger(world)), "unchanged_passes": int(get(world, *rival.where(0)))}
