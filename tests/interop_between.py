#!/usr/bin/python3
"""Load balancers, a SOCKS server and a tunnel of other makes between epif redirect and epif proxy."""
from interop_daemons import SSH, danted, haproxy, nginx, sshd
from interop_peers_world import BY_NAME, CAPTURE, MAPPED, Peers, password_file
from interop_world import LOGIN
from lab import promise, run
from redirect_world import certificates

CLEAR, LOCKED, TLS = 1080, 1081, 1083  # ports of the proxy


class Between(Peers):
    """A proxy in clear, one with a password, one under mutual TLS; the redirector sees them through something else."""

    def __init__(self, name):
        super().__init__(name, proxy=False)

    def build(self):
        super().build()
        made, ca = certificates(self.lab, "umc/node", "umc/proxy")
        (node_cert, node_key), (cert, key) = made["umc/node"], made["umc/proxy"]
        self.start_proxy("--listen", f"10.3.0.30:{CLEAR}", "--allow-all", "--tls-listen", f"10.3.0.30:{TLS}", "--cert", cert, "--key", key,
                         "--ca", ca)
        self.start_proxy("--listen", f"10.3.0.30:{LOCKED}", "--allow-all", "--user", ":".join(LOGIN), port=LOCKED)
        self.tls = ["--cert", node_cert, "--key", node_key, "--ca", ca, "--proxy-identity", "umc/proxy"]

    def keep_all(self, row, name, host, offset=0):
        """`name` passes the proxy's ports on, at `host` and their number plus `offset`."""
        for port, flags in ((CLEAR, []), (TLS, self.tls), (LOCKED, ["--user-file", password_file(self, LOGIN[1])])):
            what = f"{name} before port {port}"
            redirector = self.redirect(*CAPTURE, *BY_NAME, *flags, proxy=f"{host}:{port + offset}")
            self.keep(what)
            self.by_name(f"{what}, by name")
            redirector.stop()
        self.refuses_passwords(CAPTURE, f"{host}:{LOCKED + offset}", name)
        self.shows(row)


@promise("haproxy and nginx stream between epif redirect and epif proxy pass SOCKS6 in clear, with a password, and under mutual TLS")
def balancers_between():
    with Between("between") as w:
        haproxy(w.lab, w.gate, "".join(f"listen p{port}\n  mode tcp\n  bind 10.1.0.1:{port}\n  server s 10.3.0.30:{port}\n"
                                       for port in (CLEAR, LOCKED, TLS)), TLS)
        nginx(w.lab, w.gate, "stream { proxy_half_close on; " +
              "".join(f"server {{ listen 10.1.0.1:{port + 100}; proxy_pass 10.3.0.30:{port}; }} " for port in (CLEAR, LOCKED, TLS)) + "}\n",
              TLS + 100)
        w.keep_all("balancers", "haproxy", "10.1.0.1")
        w.keep_all("balancers", "nginx", "10.1.0.1", 100)


@promise("ssh -L between epif redirect and epif proxy passes SOCKS6 in clear, with a password, and under mutual TLS")
def ssh_between():
    with Between("ssh-l") as w:
        options = sshd(w.lab, w.gate)
        tunnels = [word for port in (CLEAR, LOCKED, TLS) for word in ("-L", f"{port + 100}:10.3.0.30:{port}")]
        forward = w.client.start("ssh", *options, "-N", *tunnels, "-p", SSH, "root@10.1.0.1")
        w.client.wait_for_port(TLS + 100, process=forward)
        w.keep_all("ssh -L", "ssh -L", "127.0.0.1", 100)


@promise("Dante's server with epif proxy above it, and epif redirect below it, is a chain that carries, over SOCKS5 and SOCKS4")
def danted_between():
    with Peers("chain") as w:
        five = ("--socks", "5", *CAPTURE)
        for version, families in ((5, (4, 6)), (4, (4,))):  # SOCKS4 has no IPv6
            server = danted(w.lab, w.gate, 1085, upstream="10.3.0.30:1080", devices=["proxy"], version=version)
            redirector = w.redirect(*five, *BY_NAME, proxy="10.1.0.1:1085")
            # danted swallows what reaches it in one piece with the reply of the proxy above it.
            w.keep(f"danted over SOCKS{version}", families=families, without=("server speaks first",))
            w.by_name(f"danted over SOCKS{version}, by a name that it resolves", families)
            w.shows("danted five" if version == 5 else "danted four", {"wrong password"} if version == 5 else ())
            w.services.peers.clear()
            redirector.stop()
            server.stop()
        danted(w.lab, w.gate, 1086, upstream="10.3.0.30:1080", devices=["proxy"], knows=False)
        w.redirect(*five, *BY_NAME, proxy="10.1.0.1:1086")
        w.refuses("danted, asked for a name that only the proxy above it knows", "host_unreachable", MAPPED)


@promise("in that chain Dante's server and epif proxy each want a password of their own, and refuse another")
def danted_between_with_passwords():
    with Peers("chain-locked") as w:
        w.start_proxy("--listen", "10.3.0.30:1081", "--allow-all", "--user", "bob:other", port=1081)
        five = ("--socks", "5", *CAPTURE)
        for port, login in ((1085, ("bob", "other")), (1086, ("bob", "wrong"))):
            danted(w.lab, w.gate, port, "username", "10.3.0.30:1081", ["proxy"], login=login)
        redirector = w.redirect(*five, "--user-file", password_file(w, LOGIN[1]), proxy="10.1.0.1:1085")
        w.keep("danted with passwords", without=("server speaks first",))
        redirector.stop()
        w.refuses_passwords(five, "10.1.0.1:1085", "danted, below")
        w.redirect(*five, "--user-file", password_file(w, LOGIN[1]), proxy="10.1.0.1:1086")
        w.refuses("the proxy above danted", "refused")  # so says danted when the proxy above it turns it away
        w.shows("danted five", {"name"})


run()
