#!/usr/bin/python3
"""client ── gate ── server and proxy: datagrams of the node itself, over SOCKS6 and through SOCKS5 relays of other make."""
from lab import check, equal, epif, promise, run, wait_until, write_json
from redirect_world import Datagrams, Service, World, ask, certificates, datagram_socket, danted, is_refused

TARGET, TARGET6 = "10.2.0.20", "fd02::20"


@promise("datagrams are carried over SOCKS6, IPv4 and IPv6, and answers come from where they were sent to")
def over_socks6():
    with World("udp6") as w, Datagrams(w.server, 9) as four, Datagrams(w.server, 9, "::") as six:
        w.redirect("--capture", TARGET, "--capture", f"[{TARGET6}]:9")
        wire = w.gate.capture("client", "udp")
        for service, address, proxy in ((four, TARGET, "10.3.0.30"), (six, TARGET6, "fd03::30")):
            with datagram_socket(w.client, address) as out:
                for word in (b"first", b"second", b"", b"x" * 1400):
                    equal(ask(out, word, (address, 9)), (word, (address, 9)), "answer and its sender")
            equal({peer[0] for peer in service.peers}, {proxy}, "who sent to the server")
        equal([p for p in wire.stop().packets() if p.protocol == 17], [], "datagrams on the uplink")
        equal(w.metric('datagrams_total{direction="sent"}'), 8, "datagrams sent")
        equal({f["protocol"] for f in w.flows()["flows"]}, {"udp"}, "protocol in /flows")


@promise("a connected socket gets its answers, and one socket reaches several ports")
def several():
    with World("udpseveral") as w, Datagrams(w.server, 9), Datagrams(w.server, 10):
        w.redirect("--capture", TARGET)
        with datagram_socket(w.client, TARGET) as out:
            equal(ask(out, b"nine", (TARGET, 9))[1], (TARGET, 9), "sender")
            equal(ask(out, b"ten", (TARGET, 10))[1], (TARGET, 10), "sender")
            equal(w.metric("datagram_associations"), 1, "associations of one socket")
        with datagram_socket(w.client, TARGET) as out:
            out.connect((TARGET, 9))
            out.send(b"connected")
            equal(out.recv(100), b"connected", "answer to a connected socket")


@promise("the proxy leg is TLS where a certificate is given, and shows no datagram")
def over_tls():
    with World("udptls", proxy=False) as w, Datagrams(w.server, 9):
        made, ca = certificates(w.lab, "umc/node", "umc/proxy")
        cert, key = made["umc/proxy"]
        w.start_proxy("--listen", "127.0.0.1:1080", "--allow-all", "--tls-listen", "10.3.0.30:1083", "--cert", cert, "--key", key,
                      "--ca", ca, port=1083)
        cert, key = made["umc/node"]
        w.redirect("--cert", cert, "--key", key, "--ca", ca, "--capture", TARGET, "--proxy-identity", "umc/proxy", proxy="10.3.0.30:1083")
        wire, behind = w.gate.capture("client"), w.gate.capture("server")
        with datagram_socket(w.client, TARGET) as out:
            equal(ask(out, b"a secret word", (TARGET, 9))[0], b"a secret word", "answer")
        check(behind.stop().holds("a secret word"), "control: the capture behind the proxy misses the datagram")
        check(not wire.stop().holds("a secret word"), "the leg to the proxy shows the datagram")


@promise("--socks 5 carries datagrams through dante-server")
def dante():
    with World("udpdante", proxy=False) as w, Datagrams(w.server, 9) as service:
        danted(w, w.proxy_node, "10.3.0.30", 1085)
        w.redirect("--socks", "5", "--capture", TARGET, proxy="10.3.0.30:1085")
        with datagram_socket(w.client, TARGET) as out:
            for word in (b"one", b"two"):
                equal(ask(out, word, (TARGET, 9)), (word, (TARGET, 9)), "answer and its sender")
        equal({peer[0] for peer in service.peers}, {"10.3.0.30"}, "who sent to the server")


@promise("--socks 5 to a server without UDP says so, and no datagram gets out")
def microsocks():
    with World("udpmicro", proxy=False) as w, Datagrams(w.server, 9) as service:
        proxy = w.proxy_node.start("microsocks", "-i", "0.0.0.0", "-p", "1081")
        w.proxy_node.wait_for_port(1081, process=proxy)
        w.redirect("--socks", "5", "--capture", TARGET, proxy="10.3.0.30:1081")
        with datagram_socket(w.client, TARGET) as out:
            out.sendto(b"lost", (TARGET, 9))
            wait_until(lambda: w.flows()["refusals"], "the refusal is told")
        equal(service.peers, [], "datagrams at the server")


@promise("kill -9: not one datagram leaves, and a stop leaves no rule, route or mark")
def killed():
    with World("udpkill") as w, Datagrams(w.server, 9) as service:
        def routing():
            return w.client.ip("rule") + w.client.ip("-6", "rule") + w.client.ip("route", "show", "table", "all") \
                + w.client.ip("-6", "route", "show", "table", "all")
        before, rules = routing(), w.ruleset()
        redirector = w.redirect("--capture", TARGET, "--capture", f"[{TARGET6}]")
        with datagram_socket(w.client, TARGET) as out, datagram_socket(w.client, TARGET6) as six:
            equal(ask(out, b"alive", (TARGET, 9))[0], b"alive", "answer")
            redirector.kill()
            wire = w.gate.capture("client")
            seen = len(service.peers)
            for number in range(5):
                out.sendto(b"leak %d" % number, (TARGET, 9))
                six.sendto(b"leak %d" % number, (TARGET6, 9))
            # The routing rule gone as well: the guard holds alone.
            w.client.ip("rule", "del", "priority", "100")
            w.client.ip("-6", "rule", "del", "priority", "100")
            for address, sender in ((TARGET, out), (TARGET6, six)):
                try:
                    sender.sendto(b"leak without rule", (address, 9))
                except PermissionError:
                    pass
            with datagram_socket(w.client, TARGET) as other:
                other.sendto(b"a control", ("10.3.0.30", 9))
            check(wire.stop().holds("a control"), "control: a datagram to an open destination is not seen")
            check(not wire.holds("leak"), "a datagram got out")
            equal(len(service.peers), seen, "datagrams at the server")
        redirector = w.redirect("--capture", TARGET)
        with datagram_socket(w.client, TARGET) as out:
            equal(ask(out, b"again", (TARGET, 9))[0], b"again", "answer after the restart")
        redirector.stop()
        equal(w.ruleset(), rules, "rules after a clean stop")
        equal(routing(), before, "routing after a clean stop")
        w.redirect("--capture", TARGET).kill()
        check(routing() != before, "control: the routing rule went with the process")
        w.client.run(epif(), "redirect", "--uninstall", "--state", w.lab.state)
        equal(routing(), before, "routing after --uninstall")


@promise("a SOCKS5 relay at another address than the proxy's is refused with both addresses, and nothing leaves for it")
def relay_elsewhere():
    def proxy(peer):
        equal(peer.recv(3), b"\x05\x01\x00", "greeting")
        peer.sendall(b"\x05\x00")
        equal(peer.recv(10)[:2], b"\x05\x03", "version and command")
        peer.sendall(b"\x05\x00\x00\x01" + bytes([10, 2, 0, 20]) + (4000).to_bytes(2, "big"))
        peer.recv(1)
    with World("udpelse", proxy=False) as w, Service(w.proxy_node, 1080, proxy), Datagrams(w.server, 4000) as relay:
        w.redirect("--socks", "5", "--capture", "10.9.0.0/24", "--warm", "0")
        wire = w.gate.capture("client", "udp")
        with datagram_socket(w.client, "10.9.0.9") as out:
            out.sendto(b"astray", ("10.9.0.9", 9))
            wait_until(lambda: w.flows()["refusals"], "the refusal is told")
        refusal = w.flows()["refusals"][-1]
        equal((refusal["reason"], [word in refusal["message"] for word in ("10.3.0.30:1080", "10.2.0.20:4000", "--socks 6")]),
              ("unsupported", [True] * 3), f"the refusal: {refusal}")
        equal((wire.stop().packets(), relay.peers), ([], []), "datagrams on the uplink and at the relay")


@promise("a dead proxy drops datagrams with a reason, bounded, and nothing waits for it at a stop")
def dead_proxy():
    with World("udpdead") as w, Datagrams(w.server, 9) as service:
        redirector = w.redirect("--capture", TARGET, "--warm", "0")
        w.gate.ip("route", "add", "blackhole", "10.3.0.30/32")  # connections to it hang
        with datagram_socket(w.client, TARGET) as out:
            for number in range(200):
                out.sendto(b"waiting %d" % number, (TARGET, 9))
            wait_until(lambda: w.metric('datagrams_dropped_total{reason="limit"}') >= 100, "what is too much is dropped and counted")
            equal(w.metric("datagram_associations"), 1, "associations")
            equal(redirector.stop(1.5), 0, "exit code of a stop while the proxy is connected to")
        equal(service.peers, [], "datagrams at the server")


@promise("a datagram route is none for connections, and the other way round")
def protocols():
    with World("udproutes") as w, Datagrams(w.server, 9):
        routes = w.lab.path("routes.json")
        one = {"id": "u", "flow": "app/u", "destination": TARGET + ":9", "protocol": "udp", "next": {"proxy": "10.3.0.30:1080"}}
        write_json(routes, {"generation": 1, "routes": [one]})
        w.redirect("--routes", routes, proxy=None)
        with datagram_socket(w.client, TARGET) as out:
            equal(ask(out, b"routed", (TARGET, 9))[0], b"routed", "answer")
            check(is_refused(w.client, TARGET, 9), "a connection followed a datagram route")
            write_json(routes, {"generation": 2, "routes": [{**one, "protocol": "tcp"}]})
            wait_until(lambda: w.metric("routes_generation") == 2, "the new table is in force")
            equal(w.metric("datagram_associations"), 0, "associations after their route went")
            out.sendto(b"lost", (TARGET, 9))
            wait_until(lambda: w.metric('datagrams_dropped_total{reason="no_route"}') > 0, "the datagram is dropped")


@promise("an idle association ends, and there are no more of them than the limit")
def bounded():
    with World("udpbounded") as w, Datagrams(w.server, 9):
        one = {"id": "u", "flow": "app/u", "destination": TARGET + ":9", "protocol": "udp", "next": {"proxy": "10.3.0.30:1080"},
               "limits": {"idle_s": 3}}
        w.redirect("--threads", "1", "--routes", write_json(w.lab.path("routes.json"), {"routes": [one]}), proxy=None)
        sockets = [datagram_socket(w.client, TARGET) for _ in range(540)]
        for count, out in enumerate(sockets, 1):
            out.sendto(b"many", (TARGET, 9))
            if count % 60 == 0:  # the kernel's own queue must not drop them
                wait_until(lambda: w.metric("datagram_associations") >= min(count, 512), lambda: f"{count} associations stand")
        check(w.metric('datagrams_dropped_total{reason="limit"}') == 28, "what is beyond the limit was not dropped, or not counted")
        equal(w.metric("datagram_associations"), 512, "associations")
        wait_until(lambda: w.metric("datagram_associations") == 0, "idle associations end", within=10)
        equal(ask(sockets[0], b"once more", (TARGET, 9))[0] in (b"many", b"once more"), True, "an answer after the idle end")
        for out in sockets:
            out.close()


@promise("with IPv6 switched off, and after loopback went down and up, datagrams are still carried")
def without_ipv6():
    with World("udpnosix") as w, Datagrams(w.server, 9):
        w.client.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        redirector = w.redirect("--capture", TARGET)
        with datagram_socket(w.client, TARGET) as out:
            equal(ask(out, b"four", (TARGET, 9))[0], b"four", "answer")
            w.client.ip("link", "set", "lo", "down")
            w.client.ip("link", "set", "lo", "up")
            table = str(0xE9200000 + 15001)
            wait_until(lambda: "local default" in w.client.ip("route", "show", "table", table), "the route on loopback is back")
            equal(ask(out, b"again", (TARGET, 9))[0], b"again", "answer")
        equal(redirector.stop(), 0, "exit code")


run()
