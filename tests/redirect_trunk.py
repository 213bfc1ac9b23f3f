#!/usr/bin/python3
"""client ── gate ── server and proxy: many flows in one connection to the proxy. Starts, stops and kills: redirect_trunk_life.py. What a
client may try: redirect_trunk_hostile.py."""
import contextlib
import hashlib
import socket
import struct
import threading
import time

from lab import check, equal, promise, run, wait_until, write_json
from redirect_trunk_world import BULK, NOISE, PROXY, TARGET, TURNS, Trunked, both_ways, drink, exchange, pour, said
from redirect_world import Service, World, certificates, echo, is_refused, is_reset, read_all, reset


@promise("hundreds of flows share one connection to the proxy, and each has its own bytes, end and place")
def many():
    with Trunked("trunkmany") as w, contextlib.ExitStack() as stack:
        before = w.metric("trunk_flows_total")
        flows = [stack.enter_context(w.flow(word=b"flow %d" % number)) for number in range(300)]
        for number, out in enumerate(flows):
            said(out, b"again %d" % (number * 7))
        check(w.legs() < 100, f"{w.legs()} connections to the proxy for 300 flows")
        equal(w.metric("trunks"), 1, "trunks")
        equal(w.metric("trunk_flows_total") - before, 300, "flows on it")
        equal(w.at_proxy("trunks"), 1, "trunks at the proxy")
        check(w.at_proxy("trunk_flows_total") >= 300, "flows that came on it")
        equal(w.at_proxy('connections{stage="open"}'), 300, "connections of which the proxy tells")
        for out in flows[::2]:
            out.shutdown(socket.SHUT_WR)
            equal(out.recv(1), b"", "the server's end")
        for number, out in enumerate(flows[1::2]):
            said(out, b"left %d" % number)
        wait_until(lambda: w.at_proxy('connections{stage="open"}') == 150, "the ended ones are gone")


@promise("readers that stop hold nobody else, and lose nothing when they go on")
def slow():
    size = 3_000_000

    def serve(peer):
        pour(peer, size)
        peer.recv(1)
    with Trunked("trunkslow") as w, Service(w.server, 7002, serve), contextlib.ExitStack() as stack:
        slow_ones = [stack.enter_context(w.flow(7002, b"")) for _ in range(30)]
        fast = [stack.enter_context(w.flow()) for _ in range(30)]
        for turn in range(5):
            for number, out in enumerate(fast):
                out.settimeout(5)
                said(out, b"%d of %d" % (number, turn))
        wanted = hashlib.sha256(NOISE * 3).hexdigest()
        for out in slow_ones:
            out.settimeout(20)
            equal(drink(out), (wanted, size), "what a reader gets that had stopped")


@promise("50 MB each way at once move to their own connection and arrive whole, in clear and TLS, with splice and without")
def bulk():
    for tls in (False, True):
        for splice in ("auto", "off"):
            with World("trunkbulk", proxy=False) as w:
                heard = []
                flags, proxy_flags, to = [], ["--listen", PROXY], PROXY
                if tls:
                    made, ca = certificates(w.lab, "umc/node", "umc/proxy")
                    proxy_flags = ["--listen", "127.0.0.1:1080", "--tls-listen", "10.3.0.30:1083", "--cert", made["umc/proxy"][0], "--key", made["umc/proxy"][1], "--ca", ca]
                    flags, to = ["--cert", made["umc/node"][0], "--key", made["umc/node"][1], "--ca", ca, "--proxy-identity", "umc/proxy"], "10.3.0.30:1083"
                w.start_proxy(*proxy_flags, "--allow-all", "--threads", "2", "--splice", splice, port=1083 if tls else 1080)
                w.redirect("--capture", TARGET, "--threads", "1", "--splice", splice, *flags, proxy=to)
                with Service(w.server, 7001, echo), Service(w.server, 7002, both_ways(heard, BULK // TURNS)):
                    def stands():
                        with w.client.connect(TARGET, 7001) as out:
                            said(out, b"first")
                            return w.metric("trunks") > 0
                    wait_until(stands, "a trunk stands", 20)
                    for _ in range(TURNS):  # so that a connection of its own comes to either thread
                        heard.clear()
                        with w.client.connect(TARGET, 7002) as out:
                            exchange(out, heard, BULK // TURNS)
                    equal(w.metric("trunk_moved_total"), TURNS, f"flows that moved (TLS {tls}, splice {splice})")


@promise("half-close works both ways on a trunk, for words and for bulk in one direction")
def half_close():
    def sum_up(peer):  # answers only after the client's end
        digest, size = drink(peer)
        peer.sendall(f"{digest} {size}".encode())

    def say_and_listen(peer):  # ends first, and reads on
        peer.sendall(b"bye")
        peer.shutdown(socket.SHUT_WR)
        heard.append(drink(peer))
    heard = []
    with Trunked("trunkhalf") as w, Service(w.server, 7002, sum_up), Service(w.server, 7003, say_and_listen):
        for size in (10, 300_000, 20_000_000):
            heard.clear()
            with w.flow(7002, b"") as out, w.flow(7003, b"") as other:
                for one in (out, other):
                    one.settimeout(20)
                equal(other.recv(3), b"bye", "the server's word")
                equal(other.recv(1), b"", "the server's end")
                sent = []
                for one in (out, other):
                    digest = hashlib.sha256()
                    for at in range(0, size, len(NOISE)):
                        one.sendall(NOISE[:min(len(NOISE), size - at)])
                        digest.update(NOISE[:min(len(NOISE), size - at)])
                    one.shutdown(socket.SHUT_WR)
                    sent.append((digest.hexdigest(), size))
                equal(read_all(out, 200).decode(), f"{sent[0][0]} {size}", "answer after the client's end")
                wait_until(lambda: heard, "the server has met the end", 20)
                equal(heard, [sent[1]], "bytes behind the server's end")


@promise("a reset passes as a reset, never as an end, both ways, on the trunk and behind a move")
def resets():
    seen = []

    def note(peer):
        peer.sendall(b"go")
        seen.append(is_reset(peer, 20))

    def break_off(peer):
        peer.sendall(b"part")
        peer.recv(1)
        reset(peer)

    def break_bulk(peer):
        peer.sendall(NOISE * 5)
        peer.recv(1)
        reset(peer)
    with Trunked("trunkreset") as w, Service(w.server, 7002, note), Service(w.server, 7003, break_off), Service(w.server, 7004, break_bulk):
        out = w.flow(7002, b"")
        equal(read_all(out, 2), b"go", "greeting")
        reset(out)
        wait_until(lambda: seen == [True], "the server sees the client's reset", 20)
        with w.flow(7003, b"") as out:
            equal(read_all(out, 4), b"part", "bytes before the reset")
            out.sendall(b"!")
            check(is_reset(out), "the server's reset looked like an end")
        moved = w.metric("trunk_moved_total")
        with w.flow(7004, b"") as out:
            equal(read_all(out, 5_000_000), NOISE * 5, "bytes before the reset")
            wait_until(lambda: w.metric("trunk_moved_total") > moved, "it has moved")
            out.sendall(b"!")
            check(is_reset(out), "the server's reset looked like an end")
        seen.clear()
        out = w.flow(7002, b"")
        equal(read_all(out, 2), b"go", "greeting")
        w.until_moved(out, moved + 2)
        reset(out)
        wait_until(lambda: seen == [True], "the server sees the client's reset", 20)
        with w.flow():
            equal(w.metric("trunks"), 1, "the trunk stands through all of it")


@promise("a route that is withdrawn resets its flows at both ends within a second, the moved one too, and no other flow of the trunk")
def cut():
    ended = {}

    def serve(peer):  # sends until it is cut
        try:
            while True:
                peer.sendall(NOISE)
        except OSError:
            ended["bulk"] = time.monotonic()

    def note(peer):
        with contextlib.suppress(OSError):
            echo(peer)
        ended["words"] = time.monotonic()
    with Trunked("trunkcut", routes=(7001, 7002, 7003)) as w, Service(w.server, 7002, note), Service(w.server, 7003, serve):
        w.flow(7002).close()  # each route is asked about by its first flow
        w.flow(7003, b"").close()
        before = w.metric("trunk_flows_total")
        with w.flow() as stays, w.flow(7002) as words, w.flow(7003, b"") as moved:
            wait_until(lambda: w.metric("trunk_flows_total") == before + 3, "all three are on the trunk")
            ended.clear()
            over = threading.Event()

            def read():
                with contextlib.suppress(ConnectionError):
                    while moved.recv(1 << 20):
                        pass
                    return  # an end
                ended["reader"] = time.monotonic()
                over.set()
            moved.settimeout(20)
            reader = threading.Thread(target=read)
            reader.start()
            wait_until(lambda: w.metric("trunk_moved_total") == 1, "the bulk has moved", 20)
            ended.clear()  # of the flows before
            began = time.monotonic()
            w.grant(7001)
            check(is_reset(words), "a flow on the trunk outlived its route")
            check(over.wait(10), "a moved flow outlived its route, or came to an end in order")
            reader.join()
            wait_until(lambda: "bulk" in ended and "words" in ended, "the server's ends have met it")
            late = max(ended.values()) - began
            check(late < 3, f"{late:.1f} s until the last end")  # 1 s, and what a loaded machine adds to it
            said(stays, b"not touched")
            check(is_refused(w.client, TARGET, 7002), "a new flow without a route")
        with w.flow():
            equal(w.metric("trunks"), 1, "trunks")


@promise("the proxy's own routes cut a flow of the trunk alone, and one without a route gets the refusal and nothing goes upstream")
def cut_at_proxy():
    with World("trunkproxyroutes", proxy=False) as w, Service(w.server, 7001, echo), Service(w.server, 7002, echo) as second:
        path = w.lab.path("proxy-routes.json")

        def grant(*ports):
            write_json(path, {"routes": [{"id": f"to-{port}", "sources": ["10.1.0.0/16"], "destination": f"{TARGET}:{port}"} for port in ports]})
        grant(7001, 7002)
        w.start_proxy("--listen", PROXY, "--routes", path)
        w.redirect("--capture", TARGET, "--threads", "1")
        with contextlib.ExitStack() as stack:
            def flow(port):
                out = stack.enter_context(w.client.connect(TARGET, port))
                said(out, b"hello")
                return out
            wait_until(lambda: flow(7001) and w.metric("trunks") > 0, "a trunk stands", 20)
            before = w.metric("trunk_flows_total")
            stays, goes = flow(7001), flow(7002)
            equal(w.metric("trunk_flows_total") - before, 2, "flows on the trunk")
            grant(7001)
            check(is_reset(goes), "the flow outlived its route")
            said(stays, b"not touched")
            reached = len(second.peers)
            check(is_refused(w.client, TARGET, 7002), "a new flow without a route")
            equal(len(second.peers), reached, "connections that reached the server")
            equal(w.metric("trunk_flows_total") - before, 3, "flows on the trunk with the refused one")
            equal(w.flows()["refusals"][-1]["reason"], "denied", "what the client's node was told")
            grant(7001, 7002)
            wait_until(lambda: not is_refused_quietly(w), "the route is back", 10)


def is_refused_quietly(w):
    try:
        with w.client.connect(TARGET, 7002) as out:
            said(out, b"hello")
            return False
    except (OSError, AssertionError):
        return True


@promise("--trunk off at either side means no trunk, and flows go as before")
def off():
    for flags, proxy_flags in ((["--trunk", "off"], []), ([], ["--trunk", "off"])):
        with World("trunkoff", proxy=False) as w, Service(w.server, 7001, echo):
            w.start_proxy("--listen", PROXY, "--allow-all", *proxy_flags)
            w.redirect("--capture", TARGET, "--threads", "1", *flags)
            for number in range(20):
                with w.client.connect(TARGET, 7001) as out:
                    said(out, b"flow %d" % number)
            equal((w.metric("trunks"), w.metric("trunk_flows_total")), (0, 0), f"trunks and their flows with {flags} {proxy_flags}")


def foreign(asked):
    """A SOCKS6 server of other make: it passes over options that it does not know. `asked`: whether each request held ours."""
    def serve(peer):
        head = read_all(peer, 8)
        if len(head) < 8:
            return
        length, port, _, kind = struct.unpack(">HHBB", head[2:])
        equal((head[:2], kind), (b"\x06\x01", 1), "version and command, type of the address")
        host = socket.inet_ntoa(read_all(peer, 4))
        options, announced = read_all(peer, length), 0
        kinds = {}
        while options:
            kind, size = struct.unpack(">HH", options[:4])
            kinds[kind] = options[4:size]
            options = options[size:]
        if 2 in kinds:
            announced = struct.unpack(">H", kinds[2][:2])[0]
        asked.append(0xFCE3 in kinds)
        first = read_all(peer, announced)
        peer.sendall(b"\x06\0\0\0" + b"\x06\0\0\0" + bytes([0, 0, 0, 1]) + bytes(4))
        equal((host, port), (TARGET, 7001), "where to")
        peer.sendall(first)
        echo(peer)
    return serve


@promise("a SOCKS6 server of other make, which passes over the option, serves as ever and is asked once")
def of_other_make():
    asked = []
    with World("trunkforeign", proxy=False) as w, Service(w.proxy_node, 1080, foreign(asked)):
        w.redirect("--capture", TARGET, "--threads", "1")
        for number in range(20):
            with w.client.connect(TARGET, 7001) as out:
                said(out, b"flow %d" % number)
        equal((asked[0], asked[1:].count(True)), (True, 0), "who was asked for a trunk")
        equal((w.metric("trunks"), w.metric("trunk_flows_total")), (0, 0), "trunks and their flows")


if __name__ == "__main__":
    run()
