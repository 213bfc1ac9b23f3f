#!/usr/bin/python3
"""SOCKS servers of other makes behind epif redirect, and redirectors and clients of other makes before epif proxy."""
import socket
import struct

from interop_daemons import NAME, NAMED, SSH, danted, haproxy, microsocks, redsocks, redsocks_settings, sshd, with_resolver, write
from interop_peers_table import table
from interop_peers_world import BY_NAME, CAPTURE, NOWHERE, PROXY, Peers, all_of, password_file
from interop_world import CLOSED, ECHO, FIRST, GREETING, LATE, LOGIN, Talk, digest, payload, read
from lab import Service, check, equal, promise, repository, run, wait_until
from redirect_world import is_refused


@promise("docs/interop.md shows the table of servers, redirectors and balancers that is tested here")
def shown():
    check(table() in (repository / "docs/interop.md").read_text(), lambda: "its table of what is before, behind and between should be\n" + table())


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
        w.refuses_passwords(("--socks", "5", *CAPTURE), "10.3.0.30:1087", "danted")
        w.shows("danted")


@promise("epif redirect --socks 5 works with microsocks, with and without a password; one end is both for it, and that hangs nothing")
def redirect_to_microsocks():
    with Peers("microsocks", proxy=False) as w:
        microsocks(w.lab, w.proxy_node)
        microsocks(w.lab, w.proxy_node, 1088, LOGIN)
        one_end = ("client ends first", "server ends first")
        redirector = w.redirect("--socks", "5", *CAPTURE, *BY_NAME, proxy="10.3.0.30:1086")
        w.by_name("microsocks by name")
        w.keep("microsocks", without=one_end)
        for family in PROXY:
            w.ends_both(family, f"microsocks, IPv{family}")
        redirector.stop()
        redirector = w.redirect("--socks", "5", *CAPTURE, "--user-file", password_file(w, LOGIN[1]), proxy="10.3.0.30:1088")
        w.keep("microsocks with a password", without=one_end)
        redirector.stop()
        w.refuses_passwords(("--socks", "5", *CAPTURE), "10.3.0.30:1088", "microsocks")
        w.shows("microsocks")


@promise("epif redirect --socks 5 works with the SOCKS5 server of ssh -D, which asks for no password")
def redirect_to_ssh():
    with Peers("ssh-d", proxy=False) as w:
        options = sshd(w.lab, w.proxy_node)
        forward = w.client.start("ssh", *options, "-N", "-D", "1085", "-p", SSH, "root@10.3.0.30")
        w.client.wait_for_port(1085, process=forward)
        redirector = w.redirect("--socks", "5", *CAPTURE, *BY_NAME, proxy="127.0.0.1:1085")
        w.by_name("ssh -D by name")
        w.keep("ssh -D")
        redirector.stop()
        w.redirect("--socks", "5", *CAPTURE, "--user-file", password_file(w, "wrong"), proxy="127.0.0.1:1085")
        w.keep("ssh -D, offered a password that nobody knows")
        w.shows("ssh -D")


@promise("redsocks before epif proxy works, in SOCKS4 and in SOCKS5, with and without a password; its clients resolve through it")
def redsocks_to_proxy():
    with Peers("redsocks") as w:
        w.start_proxy("--listen", "10.3.0.30:1081", "--allow-all", "--user", ":".join(LOGIN), port=1081)
        resolver = Service(w.server.listen(53), answers_names)
        w.lab.at_end(resolver.close)
        for kind, proxy, login in (("socks4", "10.3.0.30:1080", ()), ("socks5", "10.3.0.30:1080", ()), ("socks5", "10.3.0.30:1081", LOGIN)):
            process = redsocks(w.lab, w.client, kind, proxy, login)
            what = f"redsocks {kind} {' '.join(login)}"
            w.keep(what, families=(4,), resets=False)  # what it cannot carry it ends, without a reset
            by_resolver(w, what)
            equal({peer[0] for peer in resolver.peers}, {PROXY[4]}, f"{what}: who asked the resolver")
            process.stop()
        process = redsocks(w.lab, w.client, "socks5", "10.3.0.30:1081", (LOGIN[0], "wrong"))
        check(not is_refused(w.client, w.server.address, ECHO), "redsocks, that ends what it cannot carry, ended it with a reset")
        equal(w.services.peers, [], "connections at the server")
        w.seen.add("wrong password")
        w.shows("redsocks")
        for local, proxy in (("::1", "10.3.0.30"), ("127.0.0.1", PROXY[6])):
            settings = write(w.lab, "redsocks-6.conf", redsocks_settings("socks5", proxy, 1080, local))
            done = w.client.run("redsocks", "-t", "-c", settings, check=False)
            check(done.returncode != 0 and "Address family for hostname not supported" in done.stderr,
                  f"redsocks knows IPv6 now, on {local} and to {proxy}: {done.stderr}")


def by_resolver(w, what):
    """An unmodified program asks a resolver behind the proxy for NAME, and connects to what that says. It asks over TCP because its
    resolv.conf says so: the "truncated" of redsocks' dnstc is an answer that glibc passes over."""
    data = payload(what + " by name")
    with Talk(w.client, with_resolver(w.lab, w.server.address, ["nc.openbsd", "-4", "-N", NAME, ECHO], "options use-vc\n")) as talk:
        code, out, err = talk.finish(data)
    equal((code, digest(out)), (0, digest(data)), f"{what} by name: exit code and hash of the {len(out)} bytes ({err.strip()})")
    equal({peer[0].removeprefix("::ffff:") for peer in w.services.peers}, {PROXY[4]}, f"{what} by name: who connected to the server")
    w.services.peers.clear()
    w.seen.add("name")


def answers_names(peer):
    """A name server over TCP (RFC 7766) to which NAMED is the address of every name."""
    while len(head := read(peer, 2)) == 2:
        question = read(peer, struct.unpack(">H", head)[0])
        asked = question[12:question.index(b"\0", 12) + 5]
        answer = question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + asked + b"\xc0\x0c\0\1\0\1\0\0\0\x05\0\4" + socket.inet_aton(NAMED)
        peer.sendall(struct.pack(">H", len(answer)) + answer)


@promise("haproxy as a SOCKS4 client of epif proxy carries TCP, its check goes the same way, and each failure ends its client")
def haproxy_as_client():
    with Peers("socks4") as w:
        w.start_proxy("--listen", "10.3.0.30:1081", "--allow-all", "--user", ":".join(LOGIN), port=1081)
        w.start_proxy("--listen", f"[{PROXY[6]}]:1082", "--allow-all", port=1082)
        proxy, checked = "10.3.0.30:1080", " check check-via-socks4 inter 100ms"
        named, nowhere, locked, to_six, last = 7101, 7102, 7103, 7104, 7105
        servers = {port: (f"10.2.0.20:{port}", proxy + (checked if port == ECHO else "")) for port in (ECHO, LATE, FIRST, CLOSED, GREETING)}
        servers |= {named: (f"{NAME}:{ECHO}", proxy), nowhere: (f"{NOWHERE[4]}:{ECHO}", proxy),
                    locked: (f"10.2.0.20:{ECHO}", "10.3.0.30:1081"), to_six: (f"[fd02::20]:{ECHO}", f"[{PROXY[6]}]:1082"),
                    last: (f"10.2.0.20:{ECHO}", "10.3.0.30:1089")}
        process = haproxy(w.lab, w.client, "".join(
            f"listen p{port}\n  mode tcp\n  retries 0\n  bind 10.1.0.10:{port}\n  bind [fd01::10]:{port}\n"
            f"  server s {server} socks4 {through}\n" for port, (server, through) in servers.items()), last)
        w.addresses = lambda: {4: "10.1.0.10", 6: "fd01::10"}
        for family in PROXY:  # its own clients may come over IPv6
            for job, name in ((w.echoes, "1 MB"), (w.greets, "server speaks first"), (w.late, "client ends first"),
                              (w.first, "server ends first"), (lambda *case: w.echoes(*case, port=named), "by name")):
                job(family, f"haproxy socks4 for IPv{family}: {name}")
        wait_until(lambda: len(w.services.peers) > 16, "haproxy checks its server again and again")
        check("DOWN" not in process.output(), process.output)
        equal({peer[0].removeprefix("::ffff:") for peer in w.services.peers}, {PROXY[4]}, "who connected to the server")
        for port, why in ((CLOSED, "refuses"), (nowhere, "cannot be reached"), (locked, "lies behind a proxy that wants a password"),
                          (to_six, "has an IPv6 address, which it cuts to four bytes"), (last, "lies behind a proxy that is not there")):
            with w.open(4, port) as out:
                equal(all_of(out), b"", f"what haproxy gives for a server that {why}")


run()
