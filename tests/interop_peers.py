#!/usr/bin/python3
"""Servers, redirectors and load balancers of other makes before, behind and between epif redirect and epif proxy."""
import concurrent.futures
import os
import socket

from interop_daemons import NAME, SSH, danted, haproxy, microsocks, nginx, redsocks, sshd
from interop_world import CLOSED, ECHO, FIRST, GO, GREETING, LATE, LOGIN, MEGABYTE, WORDS, Services, digest, payload, read
from lab import check, equal, promise, run, wait_until
from redirect_world import World, certificates, is_refused

PROXY = {4: "10.3.0.30", 6: "fd03::30"}
NOWHERE = "10.2.0.99"  # the proxy's own routes call it unreachable: a gate would say so only a few times a second


class Peers(World):
    """The redirect tests' world, with the interop tests' services on its server."""

    def build(self):
        super().build()
        self.services = Services(self)
        self.proxy_node.ip("route", "add", "unreachable", NOWHERE)

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
        for address, port in ((self.server.address, CLOSED), (NOWHERE, ECHO)):
            equal(is_refused(self.client, address, port), resets, f"{what}: a reset where nothing is, {address}:{port}")
        came_from = {peer[0].removeprefix("::ffff:") for peer in self.services.peers}
        equal(came_from, {PROXY[family] for family in families}, f"{what}: who connected to the server")
        self.services.peers.clear()

    def by_name(self, what):
        """The redirector answers for NAME with MAPPED, and the proxy is asked for the name, which it alone can resolve."""
        data = payload(what)
        with self.client.connect(MAPPED, ECHO) as out, concurrent.futures.ThreadPoolExecutor(1) as sender:
            out.settimeout(10)
            sending = sender.submit(out.sendall, data)
            equal(digest(read(out, len(data))), digest(data), f"{what}: hash of what came back from the server's name")
            sending.result()
        self.heard(data, what)

    def refuses_passwords(self, capture, proxy, what):
        """A proxy that wants LOGIN is told another password, then none."""
        for flags in (["--user-file", password_file(self, "wrong")], []):
            redirector = self.redirect("--socks", "5", *capture, *flags, proxy=proxy)
            check(is_refused(self.client, self.server.address, ECHO), f"{what}: no reset although it wants another password than {flags}")
            wait_until(lambda: self.metric('refused_total{reason="unauthenticated"}') == 1, "the refusal is counted with its reason")
            redirector.stop()

    def open(self, family, port):
        made = self.client.connect(self.addresses()[family], port)
        made.settimeout(10)
        return made

    def heard(self, data, what):
        wait_until(lambda: digest(data) in self.services.heard, f"{what}: the server received what was sent")

    def echoes(self, family, what):
        """Both directions at once, and the end only when all is back: also through what knows no half-close."""
        data = payload(what)
        with self.open(family, ECHO) as out, concurrent.futures.ThreadPoolExecutor(1) as sender:
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


def password_file(world, password):
    path = world.lab.path(f"user-{password}")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
        file.write(f"{LOGIN[0]}:{password}\n")
    return path


MAPPED = "10.200.0.9"
BY_NAME = ("--map", f"{NAME}={MAPPED}")
CAPTURE = ("--capture", "10.2.0.0/24", "--capture", "[fd02::/64]:7000-7999")


@promise("epif redirect --socks 5 works with Dante's server, with and without a password")
def redirect_to_danted():
    with Peers("danted", proxy=False) as w:
        danted(w.lab, w.proxy_node, 1085, devices=["gate"])
        danted(w.lab, w.proxy_node, 1087, "username", devices=["gate"])
        redirector = w.redirect("--socks", "5", *CAPTURE, *BY_NAME, proxy="10.3.0.30:1085")
        w.by_name("danted by name")
        w.keep("danted")
        redirector.stop()
        redirector = w.redirect("--socks", "5", *CAPTURE, "--user-file", password_file(w, LOGIN[1]), proxy="10.3.0.30:1087")
        w.keep("danted with a password")
        redirector.stop()
        w.refuses_passwords(CAPTURE, "10.3.0.30:1087", "danted")


@promise("epif redirect --socks 5 works with microsocks, with and without a password, as far as that knows half-close")
def redirect_to_microsocks():
    with Peers("microsocks", proxy=False) as w:
        microsocks(w.lab, w.proxy_node)
        microsocks(w.lab, w.proxy_node, 1088, LOGIN)
        one_end = ("client ends first", "server ends first")  # for it one end is both
        redirector = w.redirect("--socks", "5", *CAPTURE, *BY_NAME, proxy="10.3.0.30:1086")
        w.by_name("microsocks by name")
        w.keep("microsocks", without=one_end)
        redirector.stop()
        redirector = w.redirect("--socks", "5", *CAPTURE, "--user-file", password_file(w, LOGIN[1]), proxy="10.3.0.30:1088")
        w.keep("microsocks with a password", without=one_end)
        redirector.stop()
        w.refuses_passwords(CAPTURE, "10.3.0.30:1088", "microsocks")


@promise("epif redirect --socks 5 works with the SOCKS5 server of ssh -D")
def redirect_to_ssh():
    with Peers("ssh-d", proxy=False) as w:
        options = sshd(w.lab, w.proxy_node)
        forward = w.client.start("ssh", *options, "-N", "-D", "1085", "-p", SSH, "root@10.3.0.30")
        w.client.wait_for_port(1085, process=forward)
        w.redirect("--socks", "5", *CAPTURE, *BY_NAME, proxy="127.0.0.1:1085")
        w.by_name("ssh -D by name")
        w.keep("ssh -D")  # it knows no passwords: who may use it says ssh


@promise("redsocks before epif proxy works, in SOCKS4 and in SOCKS5, with and without a password")
def redsocks_to_proxy():
    with Peers("redsocks") as w:
        w.start_proxy("--listen", "10.3.0.30:1081", "--allow-all", "--user", ":".join(LOGIN), port=1081)
        for kind, proxy, login in (("socks4", "10.3.0.30:1080", ()), ("socks5", "10.3.0.30:1080", ()), ("socks5", "10.3.0.30:1081", LOGIN)):
            # It redirects IPv4 alone, and knows addresses, not names. What it cannot carry it ends, without a reset.
            process = redsocks(w.lab, w.client, kind, proxy, login)
            w.keep(f"redsocks {kind} {' '.join(login)}", families=(4,), resets=False)
            process.stop()
        process = redsocks(w.lab, w.client, "socks5", "10.3.0.30:1081", (LOGIN[0], "wrong"))
        accepted = len(w.services.peers)
        check(not is_refused(w.client, w.server.address, ECHO), "redsocks, that ends what it cannot carry, ended it with a reset")
        equal(len(w.services.peers), accepted, "connections at the server")


@promise("haproxy and nginx stream between epif redirect and epif proxy pass SOCKS6 in clear and under mutual TLS")
def balancers_between():
    with Peers("between", proxy=False) as w:
        made, ca = certificates(w.lab, "umc/node", "umc/proxy")
        (node_cert, node_key), (cert, key) = made["umc/node"], made["umc/proxy"]
        w.start_proxy("--listen", "10.3.0.30:1080", "--allow-all", "--tls-listen", "10.3.0.30:1083", "--cert", cert, "--key", key,
                      "--ca", ca)
        haproxy(w.lab, w.gate, "".join(f"listen p{port}\n  mode tcp\n  bind 10.1.0.1:{port}\n  server s 10.3.0.30:{port}\n"
                                       for port in (1080, 1083)), 1083)
        nginx(w.lab, w.gate, "stream { proxy_half_close on; " +
              "".join(f"server {{ listen 10.1.0.1:{port + 100}; proxy_pass 10.3.0.30:{port}; }} " for port in (1080, 1083)) + "}\n", 1183)
        tls = ["--cert", node_cert, "--key", node_key, "--ca", ca, "--proxy-identity", "umc/proxy"]
        for port, flags in ((1080, []), (1083, tls), (1180, []), (1183, tls)):
            redirector = w.redirect(*CAPTURE, *flags, proxy=f"10.1.0.1:{port}")
            w.keep(f"{'haproxy' if port < 1100 else 'nginx'}{', TLS' if flags else ''}")
            redirector.stop()


@promise("haproxy as a SOCKS4 client of epif proxy carries TCP, and its check goes the same way")
def haproxy_as_client():
    with Peers("socks4") as w:
        ports = (ECHO, LATE, FIRST, CLOSED, GREETING)
        checked = " check check-via-socks4 inter 100ms"
        process = haproxy(w.lab, w.client, "".join(
            f"listen p{port}\n  mode tcp\n  bind 10.1.0.10:{port}\n"
            f"  server s 10.2.0.20:{port} socks4 10.3.0.30:1080{checked if port == ECHO else ''}\n" for port in ports), GREETING)
        w.addresses = lambda: {4: "10.1.0.10"}
        for job, name in ((w.echoes, "1 MB"), (w.greets, "server speaks first"), (w.late, "client ends first"),
                          (w.first, "server ends first")):
            job(4, f"haproxy socks4: {name}")
        with w.open(4, CLOSED) as out:
            equal(out.recv(100), b"", "what haproxy gives for a server that refuses")
        wait_until(lambda: len(w.services.peers) > 12, "haproxy checks its server again and again")
        check("DOWN" not in process.output(), process.output)
        equal({peer[0].removeprefix("::ffff:") for peer in w.services.peers}, {PROXY[4]}, "who connected to the server")


@promise("Dante's server with epif proxy above it, and epif redirect below it, is a chain that carries")
def danted_between():
    with Peers("chain") as w:
        danted(w.lab, w.gate, 1085, upstream="10.3.0.30:1080", devices=["proxy"])
        w.redirect("--socks", "5", "--capture", "10.2.0.0/24", proxy="10.1.0.1:1085")
        # danted swallows what reaches it in one piece with the reply of the proxy above it.
        w.keep("danted over epif proxy", families=(4,), without=("server speaks first",))


@promise("curl through epif proxy reads 1 MB from nginx and haproxy, over HTTP and HTTPS, on one kept connection")
def web_servers_behind():
    with Peers("web") as w:
        page = payload("page")
        root = w.lab.path("pages", "page")
        with open(root, "wb") as file:
            file.write(page)
        cert, key = w.lab.path("web.pem"), w.lab.path("web.key")
        w.server.run("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                     "-subj", "/CN=web", "-addext", "subjectAltName=IP:10.2.0.20,IP:fd02::20")
        both = w.lab.path("web-both.pem")
        with open(both, "wb") as out:
            for path in (cert, key):
                with open(path, "rb") as file:
                    out.write(file.read())
        nginx(w.lab, w.server, f"http {{ access_log off; server {{ root {os.path.dirname(root)}; listen 8080; listen [::]:8080; "
              f"listen 8443 ssl; listen [::]:8443 ssl; ssl_certificate {cert}; ssl_certificate_key {key}; }} }}\n", 8443)
        haproxy(w.lab, w.server, f"frontend f\n  mode http\n  bind :::9080 v4v6\n  bind :::9443 v4v6 ssl crt {both}\n  default_backend b\n"
                "backend b\n  mode http\n  server s 127.0.0.1:8080\n", 9443)
        for scheme in ("socks5h", "socks4"):
            for url in ("http://{}:8080", "https://{}:8443", "http://{}:9080", "https://{}:9443"):
                for host in ("10.2.0.20", "[fd02::20]")[:2 if scheme == "socks5h" else 1]:
                    out = w.lab.path("curl", "got")
                    urls = [word for _ in range(3) for word in ("-o", out, url.format(host) + "/page")]
                    done = w.client.run("curl", "-sS", "--fail", "-m", "20", "--cacert", cert, "-x", f"{scheme}://10.3.0.30:1080",
                                        "-w", "%{size_download} %{num_connects}\\n", *urls)
                    equal(done.stdout.split("\n")[:3], [f"{MEGABYTE} 1"] + [f"{MEGABYTE} 0"] * 2,
                          f"{scheme} {url.format(host)}: sizes and new connections of three requests")
                    with open(out, "rb") as file:
                        equal(digest(file.read()), digest(page), f"{scheme} {url.format(host)}: the page's hash")


run()
