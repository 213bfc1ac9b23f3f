#!/usr/bin/python3
"""nginx and haproxy as web servers behind epif proxy, for curl and for whoever epif redirect captures."""
import concurrent.futures
import re
import socket

from interop_daemons import NAME, haproxy, nginx, with_name
from interop_peers_world import NOWHERE, Peers, all_of
from interop_world import LOGIN, MEGABYTE, admin_get, digest, payload
from lab import check, epif, equal, promise, run, wait_until

NGINX, NGINX_TLS, HAPROXY, HAPROXY_TLS, HTTP_PROXY, HTTPS_PROXY = 8080, 8443, 9080, 9443, 8888, 8843
PAGES = (("http", NGINX), ("https", NGINX_TLS), ("http", HAPROXY), ("https", HAPROXY_TLS))
HTTP_PROXIES = (("http", HTTP_PROXY), ("https", HTTPS_PROXY))
HOSTS = ("10.2.0.20", "[fd02::20]", NAME)
SCHEMES = {"socks4": ("10.2.0.20",), "socks4a": ("10.2.0.20", NAME), "socks5": ("10.2.0.20", "[fd02::20]"), "socks5h": HOSTS}
PAGE = f"http://10.2.0.20:{NGINX}/page"  # as an HTTP proxy on the server is asked for it
OPEN, LOCKED, SECOND = 1080, 1081, 1082  # ports of proxies


class Web(Peers):
    """A page of a megabyte and a short one on the server: from nginx, and from haproxy before it, each with and without TLS. nginx is
    an HTTP proxy as well. Of the epif proxies one wants a password; two have an admin socket."""

    def build(self):
        super().build()
        self.page, self.short = payload("page"), payload("short", 1000)
        for name, data in (("page", self.page), ("short", self.short)):
            with open(self.lab.path("pages", name), "wb") as file:
                file.write(data)
        self.cert, key, both = self.lab.path("web.pem"), self.lab.path("web.key"), self.lab.path("web-both.pem")
        self.server.run("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", key, "-out", self.cert, "-days", "2",
                        "-subj", "/CN=web", "-addext", f"subjectAltName=IP:10.2.0.20,IP:fd02::20,DNS:{NAME}")
        with open(both, "wb") as out:
            for part in (self.cert, key):
                with open(part, "rb") as file:
                    out.write(file.read())
        self.log = self.lab.path("access.log")
        clear, tls, proxy, proxy_tls = (f"listen {port}{kind}; listen [::]:{port}{kind};" for port, kind in (
            (NGINX, ""), (NGINX_TLS, " ssl"), (HTTP_PROXY, ""), (HTTPS_PROXY, " ssl")))
        self.nginx = nginx(self.lab, self.server, f"http {{ access_log {self.log}; lingering_close always; "
                           f"ssl_certificate {self.cert}; ssl_certificate_key {key};\n"
                           f"server {{ root {self.lab.path('pages')}; {clear} {tls} }}\n"
                           f"server {{ {proxy} {proxy_tls} location / {{ proxy_pass http://$http_host$request_uri; }} }} }}\n", HTTPS_PROXY)
        self.haproxy = haproxy(self.lab, self.server, f"frontend f\n  mode http\n  bind :::{HAPROXY} v4v6\n"
                               f"  bind :::{HAPROXY_TLS} v4v6 ssl crt {both}\n  default_backend b\n"
                               f"backend b\n  mode http\n  server s 127.0.0.1:{NGINX}\n", HAPROXY_TLS)
        self.start_proxy("--listen", f"10.3.0.30:{LOCKED}", "--allow-all", "--user", ":".join(LOGIN), port=LOCKED)
        self.first, self.second = self.observed(OPEN), self.observed(SECOND)

    def observed(self, port):
        """A proxy that can be asked what it carried."""
        admin = self.lab.path(f"proxy-{port}.sock")
        process = self.proxy_node.start(*with_name(self.lab, [epif(), "proxy", "--listen", f"10.3.0.30:{port}", "--allow-all",
                                                              "--admin", f"unix:{admin}"]), name=f"proxy-{port}")
        process.wait_for_log("ready")
        process.admin = admin
        return process

    def curl(self, *words, check=True):
        return self.client.run("curl", "-sS", "--fail", "-m", "20", "--cacert", self.cert, "--proxy-cacert", self.cert, *words, check=check)

    def reads(self, what, *words):
        """curl with these words gets the page."""
        got = self.lab.path("curl", "got")
        self.curl("-o", got, *words)
        with open(got, "rb") as file:
            equal(digest(file.read()), digest(self.page), f"{what}: the page's hash")

    def fails(self, says, *words):
        """curl with these words says `says`, and nginx saw no request."""
        served = self.served()
        done = self.curl(*words, check=False)
        check(done.returncode == 97 and says in done.stderr and not done.stdout,
              f"curl {' '.join(words)} should say {says!r}, and ended with {done.returncode}: {done.stderr.strip()}")
        equal(self.served(), served, "requests at nginx")

    def served(self):
        with open(self.log, encoding="ascii") as log:
            return len(log.readlines())


def count(proxy, what):
    """A counter of a proxy, whatever its labels."""
    return sum(map(int, re.findall(rf"^epif_proxy_{what}_total(?:{{.*}})? (\d+)$", admin_get(proxy, "/metrics"), re.MULTILINE)))


def pages_of(hosts):
    """The page's URLs."""
    return [f"{scheme}://{host}:{port}/page" for scheme, port in PAGES for host in hosts]


def ways(hosts, proxy):
    """curl's words for every way to the page through the SOCKS proxy `proxy`: straight, and by way of an HTTP proxy. That has no TLS
    over IPv6: curl 7.88 does not find such an address of a proxy in its certificate."""
    straight = [("-x", proxy, url) for url in pages_of(hosts)]
    proxies = [f"{scheme}://{host}:{port}" for scheme, port in HTTP_PROXIES for host in hosts]
    return straight + [("--preproxy", proxy, "-x", then, PAGE) for then in proxies if not then.startswith("https://[")]


@promise("curl through epif proxy reads 1 MB from nginx and haproxy, by address and name, over HTTP and HTTPS, on one kept connection")
def pages():
    with Web("web", proxy=False) as w:
        for scheme, hosts in SCHEMES.items():
            for url in pages_of(hosts):
                out = w.lab.path("curl", "got")
                done = w.curl("-x", f"{scheme}://10.3.0.30:{OPEN}", "-w", "%{size_download} %{num_connects}\\n",
                              *[word for _ in range(3) for word in ("-o", out, url)])
                equal(done.stdout.split("\n")[:3], [f"{MEGABYTE} 1"] + [f"{MEGABYTE} 0"] * 2,
                      f"{scheme} {url}: sizes and new connections of three requests")
                with open(out, "rb") as file:
                    equal(digest(file.read()), digest(w.page), f"{scheme} {url}: the page's hash")


@promise("curl is told when nginx or haproxy is not there or cannot be reached, or when the proxy does not know it")
def failures():
    with Web("web-failures", proxy=False) as w:
        socks, locked = f"socks5h://10.3.0.30:{OPEN}", f"socks5h://{{}}10.3.0.30:{LOCKED}"
        asked = 0
        for words in ways(HOSTS, locked.format(":".join(LOGIN) + "@")):
            w.reads(f"{words}", *words)
            asked += 2 if words[0] == "--preproxy" else 1
        wait_until(lambda: w.served() == asked, lambda: f"nginx logged {asked} requests, not {w.served()}")
        for words in ways(HOSTS, locked.format(f"{LOGIN[0]}:wrong@")):
            w.fails("User was rejected by the SOCKS5 server", *words)
        for words in ways(HOSTS, locked.format("")):
            w.fails("No authentication method was acceptable", *words)
        for words in ways((NOWHERE[4], f"[{NOWHERE[6]}]"), socks):
            w.fails("(4)", *words)
        for server in (w.haproxy, w.nginx):
            server.stop()
        for words in ways(HOSTS, socks):
            w.fails("(5)", *words)


@promise("nginx and haproxy answer a client that has ended; either page has its end; nginx, told to linger, hears out who goes on")
def half_close():
    with Web("web-half", proxy=False) as w:
        w.redirect("--capture", "10.2.0.0/24", "--capture", f"[fd02::/64]:{NGINX}", "--capture", f"[fd02::/64]:{HAPROXY}")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(ends, w, family, port) for family in (4, 6) for port in (NGINX, HAPROXY)]:
                done.result()
        wait_until(lambda: w.flows()["flows"] == [], lambda: f"every flow ended, but there is {w.flows()}")
        equal(re.findall("^epif_redirect_cut_total{.*", w.ask("/metrics"), re.MULTILINE), [], "flows that did not end in order")


def ends(w, family, port):
    what = f"port {port}, IPv{family}"
    name, page = ("page", w.page) if port == HAPROXY else ("short", w.short)  # nginx drops what it could not send before it saw the end
    with asked(w, family, port, name) as out:
        out.shutdown(socket.SHUT_WR)
        equal(digest(body(all_of(out))), digest(page), f"{what}: the page's hash after the client's end")
    with asked(w, family, port, "page") as out:
        equal(digest(body(all_of(out))), digest(w.page), f"{what}: the page's hash until the server's end")
        if port == NGINX:  # haproxy resets whoever goes on, or leaves unread what comes until its timeout
            out.sendall(payload(what))
        out.shutdown(socket.SHUT_WR)


def asked(w, family, port, name):
    """A connection on which HTTP/1.0 asked for a page: the server ends it."""
    out = w.open(family, port)
    out.sendall(f"GET /{name} HTTP/1.0\r\n\r\n".encode())
    return out


def body(answer):
    return answer.partition(b"\r\n\r\n")[2]


@promise("curl --preproxy with any SOCKS scheme reaches an HTTP proxy through epif proxy; of two SOCKS proxies curl asks the first alone")
def preproxy():
    with Web("preproxy", proxy=False) as w:
        asked = 0
        for words in (words for scheme, hosts in SCHEMES.items() for words in ways(hosts, f"{scheme}://10.3.0.30:{OPEN}")):
            if words[0] == "--preproxy":
                served, asked = w.served(), asked + 1
                w.reads(f"{words}", *words)
                wait_until(lambda: w.served() == served + 2, f"{words}: nginx was asked as the proxy, and by it as the server")
        equal((count(w.first, "flows_opened"), count(w.first, "connections")), (asked, asked), "what came to the proxy before the HTTP proxy")
        for scheme in SCHEMES:
            for then in SCHEMES:  # curl 7.88 has one place for a SOCKS proxy, and --preproxy takes it
                two = ("--preproxy", f"{scheme}://10.3.0.30:{OPEN}", "-x", f"{then}://10.3.0.30:{SECOND}")
                w.reads(" ".join(two), *two, PAGE)
        equal((count(w.first, "flows_opened") - asked, count(w.second, "connections")), (len(SCHEMES) ** 2, 0),
              "flows of the first, and connections to the second")


run()
