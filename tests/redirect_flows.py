#!/usr/bin/python3
"""client ── gate ── server and proxy: what a captured connection lives through."""
import contextlib
import socket
import os

from lab import check, equal, promise, run, wait_until, write_json
from redirect_world import Service, World, certificates, danted, echo, greet, is_refused, is_reset, kernel_count, read_all, reset

PROXY4 = "10.3.0.30"


@promise("original destination and bytes are right, IPv4 and IPv6")
def both_families():
    with World("both") as w:
        w.redirect("--capture", "10.2.0.0/24", "--capture", "[fd02::20]:7000-7010")
        with Service(w.server, 7001, echo) as four, Service(w.server, 7001, echo, "::") as six:
            for service, address, source in ((four, w.server.address, PROXY4), (six, w.server.address6, "fd03::30")):
                with w.client.connect(address, 7001) as out:
                    out.sendall(b"x" * 100_000)
                    equal(len(read_all(out, 100_000)), 100_000, f"bytes that came back from {address}")
                equal(service.peers[0][0], source, "who connected to the server")
        flows = w.ask("/flows")
        check('"refusals":[]' in flows, flows)


@promise("an IPv4-mapped IPv6 socket is captured as IPv4")
def mapped():
    with World("mapped") as w:
        w.redirect("--capture", "10.2.0.20")
        with Service(w.server, 7001, echo) as service:
            with w.client.connect("::ffff:10.2.0.20", 7001) as out:
                out.sendall(b"mapped")
                equal(read_all(out, 6), b"mapped", "echo")
            equal(service.peers[0][0], PROXY4, "who connected to the server")


@promise("curl and ncat work unmodified")
def unmodified_programs():
    with World("programs") as w:
        body = w.lab.path("page")
        with open(body, "wb") as file:
            file.write(b"0123456789" * 100_000)
        web = w.server.start("/usr/bin/python3", "-u", "-m", "http.server", "80", cwd=w.lab.state)
        w.server.wait_for_port(80, process=web)
        w.redirect("--capture", "10.2.0.20")
        got = w.client.run("curl", "-sS", "--fail", "http://10.2.0.20/page")
        equal(len(got.stdout), 1_000_000, "size of the page")
        with Service(w.server, 7002, greet):
            got = w.client.run("ncat", "--recv-only", "-i", "300ms", "10.2.0.20", "7002", check=False)
            equal(got.stdout, "220 hello\n".replace("\n", "\r\n").replace("\r\n", "\n"), "greeting")


@promise("a server that speaks first answers at once")
def server_first():
    with World("first") as w:
        w.redirect("--capture", "10.2.0.20")
        with Service(w.server, 25, greet), Service(w.server, 7003, greet):
            for port in (25, 7003):  # 25 is known to be server-first, 7003 is not
                with w.client.connect("10.2.0.20", port) as out:
                    out.settimeout(1.0)
                    equal(out.recv(100), b"220 hello\r\n", f"greeting on {port}")


@promise("SOCKS5 to a proxy of other make, with and without name and password")
def socks5():
    with World("socks5", proxy=False) as w:
        plain = w.proxy_node.start("microsocks", "-i", "0.0.0.0", "-p", "1081", name="plain")
        locked = w.proxy_node.start("microsocks", "-i", "0.0.0.0", "-p", "1082", "-u", "alice", "-P", "wonder", name="locked")
        w.proxy_node.wait_for_port(1081, process=plain).wait_for_port(1082, process=locked)
        secret = w.lab.path("user")
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write("alice:wonder\n")
        danted(w, w.proxy_node, "10.3.0.30", 1085)
        with Service(w.server, 7001, echo):
            for proxy, flags in (("10.3.0.30:1085", []), ("10.3.0.30:1081", []), ("10.3.0.30:1082", ["--user-file", secret])):
                redirector = w.redirect("--socks", "5", "--capture", "10.2.0.20", *flags, proxy=proxy)
                with w.client.connect("10.2.0.20", 7001) as out:
                    out.sendall(b"five")
                    equal(read_all(out, 4), b"five", f"echo through {proxy}")
                redirector.stop()
            redirector = w.redirect("--socks", "5", "--capture", "10.2.0.20", proxy="10.3.0.30:1082")
            check(is_refused(w.client, "10.2.0.20", 7001), "no reset although the proxy wants a password")
            wait_until(lambda: w.metric('refused_total{reason="unauthenticated"}') == 1, "the refusal is counted with its reason")


@promise("--no-false-start keeps the client's first bytes until the proxy has replied; all arrive, and servers may speak first")
def first_bytes_after_the_reply():
    def asked(listener, flags):
        """What the redirector sends to a proxy that ends without a reply."""
        redirector = w.redirect("--capture", "10.2.0.20", "--warm", "0", *flags, proxy="10.3.0.30:1081")
        with w.client.connect("10.2.0.20", 7001) as out:
            out.sendall(b"the first bytes")
            peer, _ = listener.accept()
            with peer, contextlib.suppress(ConnectionResetError):
                seen = peer.recv(65536)
                peer.shutdown(socket.SHUT_WR)
                while more := peer.recv(65536):
                    seen += more
        redirector.stop()
        return seen
    with World("late") as w:
        with w.proxy_node.listen(1081) as listener:
            wait_until(lambda: b"the first bytes" in asked(listener, []), "by default they travel with the request")
            check(b"the first bytes" not in asked(listener, ["--no-false-start"]), "they went out before the reply")
        w.redirect("--capture", "10.2.0.20", "--no-false-start")
        with Service(w.server, 7001, echo), Service(w.server, 7002, greet):
            with w.client.connect("10.2.0.20", 7001) as out:
                out.sendall(b"x" * 100_000)
                equal(len(read_all(out, 100_000)), 100_000, "bytes that came back")
            with w.client.connect("10.2.0.20", 7002) as out:
                equal(out.recv(100), b"220 hello\r\n", "greeting")


@promise("a proxy that is down, or refuses, is a reset with the reason")
def refusals():
    with World("refusals") as w:
        w.redirect("--capture", "10.2.0.20")
        check(is_refused(w.client, "10.2.0.20", 7009), "a server that refuses did not reset the client")  # nobody listens there
        wait_until(lambda: w.metric('refused_total{reason="refused"}') == 1, "refused by the server is counted")
        w.proxy.kill()
        check(is_refused(w.client, "10.2.0.20", 7009), "a dead proxy did not reset the client")
        refusal = w.flows()["refusals"][-1]
        equal(refusal["destination"], "10.2.0.20:7009", "destination in /flows")
        check("10.3.0.30:1080" in refusal["message"], refusal["message"])


@promise("half-close works both ways")
def half_close():
    def sum_up(peer):  # answers only after the client's end
        total = 0
        while data := peer.recv(65536):
            total += len(data)
        peer.sendall(str(total).encode())

    def say_and_listen(peer):  # ends first, and reads on
        peer.sendall(b"bye")
        peer.shutdown(socket.SHUT_WR)
        heard.append(read_all(peer, 1 << 20))
    heard = []
    with World("half") as w:
        w.redirect("--capture", "10.2.0.20")
        with Service(w.server, 7001, sum_up), Service(w.server, 7002, say_and_listen):
            with w.client.connect("10.2.0.20", 7001) as out:
                out.sendall(b"y" * 300_000)
                out.shutdown(socket.SHUT_WR)
                equal(read_all(out, 100), b"300000", "answer after the client's end")
            with w.client.connect("10.2.0.20", 7002) as out:
                equal(read_all(out, 100), b"bye", "all until the server's end")
                out.sendall(b"still here")
            wait_until(lambda: heard == [b"still here"], "bytes after the server's end arrive")


@promise("a reset passes as a reset, both ways")
def resets():
    with World("resets") as w:
        seen = []

        def note(peer):
            peer.sendall(b"go")
            seen.append(is_reset(peer))

        def break_off(peer):
            peer.sendall(b"part")
            peer.recv(1)
            reset(peer)
        w.redirect("--capture", "10.2.0.20")
        with Service(w.server, 7001, note), Service(w.server, 7002, break_off):
            out = w.client.connect("10.2.0.20", 7001)
            equal(read_all(out, 2), b"go", "greeting")
            reset(out)
            wait_until(lambda: seen == [True], "the server sees the client's reset")
            with w.client.connect("10.2.0.20", 7002) as out:
                equal(read_all(out, 4), b"part", "bytes before the reset")
                out.sendall(b"!")
                check(is_reset(out), "the server's reset looked like an end")


@promise("killing the redirector resets what it carried")
def kill_resets():
    with World("killreset") as w:
        seen = []

        def note(peer):
            peer.sendall(b"go")
            seen.append(is_reset(peer))
        redirector = w.redirect("--capture", "10.2.0.20")
        with Service(w.server, 7001, note), w.client.connect("10.2.0.20", 7001) as out:
            equal(read_all(out, 2), b"go", "greeting")
            redirector.kill()
            check(is_reset(out), "the cut transfer looked complete to the client")
            wait_until(lambda: seen == [True], "the server sees an error, not an end")


@promise("mutual TLS to the proxy, and a foreign certificate is refused")
def mutual_tls():
    with World("tls", proxy=False) as w:
        made, ca = certificates(w.lab, "umc/node", "umc/proxy")
        cert, key = made["umc/proxy"]
        w.start_proxy("--listen", "127.0.0.1:1080", "--allow-all", "--tls-listen", "10.3.0.30:1083", "--cert", cert, "--key", key,
                      "--ca", ca, port=1083)
        cert, key = made["umc/node"]
        own = ["--cert", cert, "--key", key, "--ca", ca, "--capture", "10.2.0.20"]
        with Service(w.server, 7001, greet):
            redirector = w.redirect(*own, "--proxy-identity", "umc/proxy", proxy="10.3.0.30:1083")
            wait_until(lambda: w.metric("pool_idle") > 0 and w.metric("trunks") > 0, "warm connections and a trunk stand ready")
            wire, behind = w.gate.capture("proxy", "tcp port 1083"), w.gate.capture("server", "tcp port 7001")
            with w.client.connect("10.2.0.20", 7001) as out:
                out.sendall(b"secret")
                equal(read_all(out, 17), b"220 hello\r\nsecret", "greeting and echo")
            check(behind.stop().holds("secret"), "the capture behind the proxy misses the bytes")
            check(not wire.stop().holds("secret"), "the leg to the proxy shows the bytes")
            equal(w.metric("trunk_flows_total"), 1, "flows that found their way to the proxy ready")
            redirector.stop()
            redirector = w.redirect(*own, "--proxy-identity", "umc/other", proxy="10.3.0.30:1083")
            check(is_refused(w.client, "10.2.0.20", 7001), "a proxy of another name was accepted")
            redirector.stop()
            foreign_dir = w.lab.path("foreign")
            os.makedirs(foreign_dir, exist_ok=True)
            foreign, foreign_ca = certificates(_Folder(w.lab, foreign_dir), "umc/node")
            cert, key = foreign["umc/node"]
            w.redirect("--cert", cert, "--key", key, "--ca", ca, "--capture", "10.2.0.20", proxy="10.3.0.30:1083")
            check(is_refused(w.client, "10.2.0.20", 7001), "the proxy took a certificate of a foreign authority")
            equal(len(w.flows()["refusals"]), 1, "refusals")


@promise("with --fast-open the request travels in the SYN, and the program's bytes with it only where a route, or the flag alone, lets them be said twice")
def said_twice():
    for name, safe in (("alone", None), ("safe", True), ("unsafe", False)):
        with World("tfo" + name) as w, Service(w.server, 7001, echo):
            for node in (w.client, w.proxy_node):
                node.sysctl("net.ipv4.tcp_fastopen", 3)
            route = {"id": "a", "flow": "app/a", "destination": "10.2.0.20:7001", "next": {"proxy": "10.3.0.30:1080"}, "replay_safe": safe}
            managed = ["--routes", write_json(w.lab.path("routes.json"), {"routes": [route]})]
            w.redirect("--fast-open", *(managed if safe is not None else ["--capture", "10.2.0.20"]),
                       proxy=None if safe is not None else "10.3.0.30:1080")
            wire = w.gate.capture("proxy", "tcp dst port 1080")
            for _ in range(4):
                with w.client.connect("10.2.0.20", 7001) as out:
                    out.sendall(b"open sesame")
                    equal(read_all(out, 11), b"open sesame", "echo")
            syns = [packet.payload for packet in wire.stop().packets() if packet.flags & 0x12 == 0x02]
            equal([payload[:1] for payload in syns], [b""] + [b"\x06"] * 3, f"{name}: what SYNs bear, after the first has asked for the cookie")
            equal([b"open sesame" in payload for payload in syns], [False] + [safe is not False] * 3, f"{name}: the program's bytes in a SYN")


@promise("SOCKS6 in clear with Fast Open uses it for each flow where it is possible, and works where it is not")
def fast_open():
    for at_proxy, opened in ((3, 4), (1, 0)):
        with World(f"tfo{at_proxy}") as w, Service(w.server, 7001, echo):
            w.proxy_node.sysctl("net.ipv4.tcp_fastopen", at_proxy)
            w.redirect("--fast-open", "--capture", "10.2.0.20")
            for _ in range(5):
                with w.client.connect("10.2.0.20", 7001) as out:
                    out.sendall(b"open sesame")
                    equal(read_all(out, 11), b"open sesame", "echo")
            equal(kernel_count(w.client, "TCPFastOpenActive"), opened, "SYNs whose data the proxy took, after the first has asked for the cookie")
            equal((w.metric("trunks"), w.metric("trunk_flows_total")), (0, 0), "trunks and their flows")


@promise("with --fast-open the ClientHello, and SOCKS5's greeting, travel in the SYN of a connection that is made on demand; sessions are resumed as before")
def first_words():
    with World("tfowords", proxy=False) as w, Service(w.server, 7001, echo):
        made, ca = certificates(w.lab, "umc/node", "umc/proxy")
        words = {name: ["--cert", cert, "--key", key, "--ca", ca] for name, (cert, key) in made.items()}
        w.proxy_node.sysctl("net.ipv4.tcp_fastopen", 3)
        one = w.start_proxy("--listen", "10.3.0.30:1080", "--tls-listen", "10.3.0.30:1083", "--allow-all", *words["umc/proxy"])
        # The first connection asks for the cookie, which is the proxy's, whatever the port.
        for flags, port, first, asks in ((words["umc/node"], 1083, b"\x16", 1), (["--socks", "5"], 1080, b"\x05", 0)):
            for fast in ([], ["--fast-open"]):
                bearing = 4 - asks if fast else 0
                redirector = w.redirect("--capture", "10.2.0.20", "--warm", "0", "--trunk", "off", "--threads", "1", *fast, *flags, proxy=f"10.3.0.30:{port}")
                before = kernel_count(w.client, "TCPFastOpenActive")
                wire = w.gate.capture("proxy", f"tcp dst port {port}")
                for _ in range(4):
                    with w.client.connect("10.2.0.20", 7001) as out:
                        out.sendall(b"hello")
                        equal(read_all(out, 5), b"hello", "echo")
                syns = [packet.payload[:1] for packet in wire.stop().packets() if packet.flags & 0x12 == 0x02]
                equal(syns, [b""] * (4 - bearing) + [first] * bearing, f"what SYNs bear with {fast + flags[:2]}")
                equal(kernel_count(w.client, "TCPFastOpenActive") - before, bearing, f"SYNs whose data the proxy took with {fast + flags[:2]}")
                resumed = w.metric('tls_handshakes_total{resumed="yes"}')
                equal(resumed, 3 if port == 1083 else 0, f"sessions resumed with {fast + flags[:2]}")
                redirector.stop()
        one.stop()
        for flags, port in ((words["umc/node"], 1083), (["--socks", "5"], 1080)):
            redirector = w.redirect("--capture", "10.2.0.20", "--warm", "0", "--trunk", "off", "--fast-open", *flags, proxy=f"10.3.0.30:{port}")
            check(is_refused(w.client, "10.2.0.20", 7001), "a dead proxy did not reset the client")
            refusal = w.flows()["refusals"][-1]
            equal((refusal["reason"], f"10.3.0.30:{port}" in refusal["message"]), ("refused", True), f"why, where the SYN bore the first words: {refusal}")
            redirector.stop()


class _Folder:
    """A lab whose paths lie in a folder of their own."""

    def __init__(self, lab, folder):
        self.nodes, self._folder = lab.nodes, folder

    def path(self, name):
        return f"{self._folder}/{name}"


run()
