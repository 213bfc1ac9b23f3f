#!/usr/bin/python3
"""epif proxy relays datagrams by SOCKS5 UDP ASSOCIATE. client ── proxy ── server, on loopback and in namespaces."""
import os
import random
import socket
import struct
import time

import socks

from lab import Lab, check, epif, equal, promise, run, wait_until, write_json
from proxy_datagrams import V5, UdpServer, drops, expect, memory_kib, silent, udp_route, v5_associate, v5_datagram
from proxy_tables import Table
from proxy_world import Proxy, Server, echo, is_reset, read_all, read_exactly, v5_code, v5_request


@promise("a datagram reaches its server and comes back with its source: IPv4, IPv6, empty and large ones")
def passes():
    with UdpServer() as four, UdpServer("::1") as six, Proxy("--allow-all") as proxy, V5(proxy) as client:
        equal(client.relay[0], "127.0.0.1", "the relay's address is the connection's")
        for server in (four, six):
            client.send(server.host, server.port, b"ping")
            expect(client, (server.host, server.port, b"re:ping"), "the answer")
        client.send(four.host, four.port, b"")
        expect(client, (four.host, four.port, b"re:"), "the answer to an empty datagram")
        big = os.urandom(60_000)
        client.send(four.host, four.port, big)
        expect(client, (four.host, four.port, b"re:" + big), "the answer to a large one")
        equal(proxy.metric("epif_proxy_udp_associations"), 1, "associations")
        equal(proxy.metric('epif_proxy_udp_datagrams_total{direction="to_server"}'), 4, "datagrams to servers")
        equal(proxy.metric('epif_proxy_udp_datagrams_total{direction="to_client"}'), 4, "datagrams to the client")


@promise("a route's name leads to its one address, without a question to any name server")
def by_name():
    with UdpServer() as server, Table() as table:
        with Proxy("--routes", table.write(udp_route("a", server.port, name="pacs.example"))) as proxy, V5(proxy) as client:
            client.send("PACS.example", server.port, b"ping")
            expect(client, ("127.0.0.1", server.port, b"re:ping"), "the answer")


@promise("a control connection over IPv6 has its relay there")
def over_ipv6():
    with UdpServer() as server, Proxy("--allow-all", listen="[::1]:0") as proxy, V5(proxy, host="::1") as client:
        equal(client.relay[0], "::1", "the relay's address")
        client.send(server.host, server.port, b"ping")
        expect(client, (server.host, server.port, b"re:ping"), "the answer")


@promise("PySocks works")
def with_pysocks():
    with UdpServer() as server, Proxy("--allow-all") as proxy:
        client = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
        client.set_proxy(socks.SOCKS5, "127.0.0.1", proxy.port)
        client.settimeout(10)
        with client:
            client.sendto(b"ping", (server.host, server.port))
            equal(client.recvfrom(100), (b"re:ping", (server.host, server.port)), "what came back")


@promise("only the client's own address and port may send, fragments are dropped, and the first datagram fixes the port")
def own_source_only():
    with UdpServer() as server, Proxy("--allow-all") as proxy, V5(proxy) as client:
        foreign = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        foreign.bind(("127.0.0.9", 0))
        foreign.sendto(v5_datagram(server.host, server.port, b"foreign"), client.relay)
        client.send(server.host, server.port, b"part", fragment=1)
        client.send(server.host, server.port, b"mine")
        expect(client, (server.host, server.port, b"re:mine"), "the answer")
        second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        second.sendto(v5_datagram(server.host, server.port, b"other port"), client.relay)
        client.send(server.host, server.port, b"again")
        expect(client, (server.host, server.port, b"re:again"), "the answer")
        equal(server.seen, [b"mine", b"again"], "what the server saw")
        equal(drops(proxy, "foreign_source"), 2, "foreign datagrams")
        equal(drops(proxy, "fragment"), 1, "fragments")
    with UdpServer() as server, Proxy("--allow-all") as proxy:
        own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        own.bind(("127.0.0.1", 0))
        with V5(proxy, address="127.0.0.1", port=own.getsockname()[1]) as client:
            client.send(server.host, server.port, b"from a port that was not announced")
            own.sendto(v5_datagram(server.host, server.port, b"announced"), client.relay)
            own.settimeout(10)
            check(own.recv(100).endswith(b"re:announced"), "the announced port got no answer")
            equal(server.seen, [b"announced"], "what the server saw")


@promise("a client that announces a port and no address, a name, or an address that is not the one it is seen at, sends from any port")
def behind_nat():
    with UdpServer() as server, Proxy("--allow-all") as proxy:
        for address in ("0.0.0.0", "::", "192.168.7.7", "here.example"):
            with V5(proxy, address=address, port=9) as client:
                client.send(server.host, server.port, b"ping")
                expect(client, (server.host, server.port, b"re:ping"), f"the answer, {address} announced")
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
                    before = drops(proxy, "foreign_source")
                    second.sendto(v5_datagram(server.host, server.port, b"second"), client.relay)
                    wait_until(lambda: drops(proxy, "foreign_source") == before + 1, "the first datagram has fixed the port")
        equal(server.seen, [b"ping"] * 4, "what the server saw")


@promise("a host that the client has not written to is not heard")
def nobody_unasked():
    with UdpServer() as server, UdpServer() as stranger, Proxy("--allow-all") as proxy, V5(proxy) as client:
        client.send(server.host, server.port, b"ping")
        expect(client, (server.host, server.port, b"re:ping"), "the answer")
        stranger.socket.sendto(b"unasked", ("127.0.0.1", server.sources[0][1]))
        wait_until(lambda: drops(proxy, "unasked") == 1, "the stranger's datagram is counted")
        check(silent(client.socket), "the client heard a stranger")


@promise("default deny: without a UDP route the association is refused, and a TCP route gives no datagram its way")
def default_deny():
    with UdpServer() as server, Server(echo) as stream, Table() as table:
        tcp = udp_route("t", server.port, protocol="tcp")
        with Proxy("--routes", table.write(tcp)) as proxy:
            equal(v5_code(proxy, v5_associate()[3:]), 2, "the reply without a UDP route")
        udp_only = udp_route("u", stream.port)
        with Proxy("--routes", table.write(tcp, udp_only)) as proxy:
            equal(v5_code(proxy, v5_request(stream.port)), 2, "a connection by a UDP route")
            equal(stream.accepted, 0, "connections at the server")
            with V5(proxy) as client:
                for _ in range(5):
                    client.send(server.host, server.port, b"no")
                wait_until(lambda: drops(proxy, "denied") == 5, "the denied datagrams are counted")
                equal(server.seen, [], "what the server saw")
            log = [line for line in proxy.process.output().splitlines() if "datagrams refused" in line]
            equal(len(log), 1, "lines in the log for one destination")
            check("no_route" in log[0], "the reason is not named")


@promise("a denied destination sends nothing upstream: the wire shows the granted datagrams alone")
def nothing_on_the_wire():
    with Lab("proxyudp") as lab:  # client 10.1.0.10 ── gate (proxy) ── 10.2.0.20 server
        client, gate, server = lab.node("client"), lab.router("gate"), lab.node("server")
        lab.link(client, "10.1.0.10/24 fd01::10/64", gate, "10.1.0.1/24 fd01::1/64")
        lab.link(server, "10.2.0.20/24 fd02::20/64", gate, "10.2.0.1/24 fd02::1/64")
        routes = lab.path("routes.json")
        base = {"sources": ["10.1.0.0/24"], "protocol": "udp"}
        write_json(routes, {"routes": [{**base, "id": "a", "destination": "10.2.0.20:5000"},
                                       {**base, "id": "b", "destination": "[fd02::20]:5000"}]})
        proxy = gate.start(epif(), "proxy", "--listen", "10.1.0.1:1080", "--routes", routes)
        gate.wait_for_port(1080, process=proxy)
        capture = gate.capture("server", "udp or icmp6 or icmp")
        with UdpServer("10.2.0.20", port=5000, node=server) as four, UdpServer("fd02::20", port=5000, node=server) as six:
            with client.inside():
                control = socket.create_connection(("10.1.0.1", 1080), 10)
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sender.settimeout(10)
            control.sendall(v5_associate())
            reply = read_exactly(control, 12)
            equal((reply[1], reply[3], reply[6:10]), (0, 0, socket.inet_aton("10.1.0.1")), "the relay is the address that was asked")
            relay = ("10.1.0.1", struct.unpack(">H", reply[10:])[0])
            for address, port in (("10.2.0.20", 5001), ("10.2.0.21", 5000), ("fd02::20", 5001), ("10.2.0.255", 5000),
                                  ("224.0.0.1", 5000), ("255.255.255.255", 5000), ("no.such.name", 5000), ("0.0.0.0", 53)):
                sender.sendto(v5_datagram(address, port, b"DENIED"), relay)
            for server_at in (four, six):
                sender.sendto(v5_datagram(server_at.host, 5000, b"GRANTED"), relay)
                check(sender.recv(1000).endswith(b"re:GRANTED"), f"no answer from {server_at.host}")
            control.close()
        capture.stop()
        check(capture.holds("GRANTED"), "the capture misses what was granted")
        check(not capture.holds("DENIED"), "a denied datagram was on the wire")


@promise("a block put in front of a wide route, or another way, ends the old association's datagrams to there and no others")
def narrowed():
    def wide(id="wide"):
        return {"id": id, "sources": ["127.0.0.0/8"], "destination": "127.0.0.0/8", "protocol": "udp"}
    for generation, change in ((2, {"blocked": "consent withdrawn"}), (4, {})):
        with UdpServer() as victim, UdpServer() as other, Table() as table:
            with Proxy("--routes", table.write(wide())) as proxy, V5(proxy) as client:
                for server in (victim, other):
                    client.send(server.host, server.port, b"before")
                    expect(client, (server.host, server.port, b"re:before"), "the answer before")
                table.write(udp_route("narrow", victim.port, **change), wide(), wide("later"), generation=generation)
                wait_until(lambda: proxy.metric("epif_proxy_routes_generation") == generation, "the new table serves")
                client.send(victim.host, victim.port, b"after")
                if not change:  # by the new route, and not as a part of the old flow
                    expect(client, (victim.host, victim.port, b"re:after"), "by the other route")
                client.send(other.host, other.port, b"after")
                expect(client, (other.host, other.port, b"re:after"), "the other destination")
                equal(victim.seen, [b"before"] if change else [b"before", b"after"], "what the victim saw")
                equal(proxy.process.output().count("datagrams cut"), 1, "destinations cut")


@promise("the association ends with its connection, and its ports and descriptors with it")
def ends_with_connection():
    with UdpServer() as server, Proxy("--allow-all") as proxy:
        before = proxy.metric("epif_proxy_open_descriptors")
        for _ in range(50):
            with V5(proxy) as client:
                client.send(server.host, server.port, b"ping")
                expect(client, (server.host, server.port, b"re:ping"), "the answer")
                client.control.close()
                wait_until(lambda: proxy.metric("epif_proxy_udp_associations") == 0, "the association ends")
                client.socket.connect(client.relay)
                client.socket.send(v5_datagram(server.host, server.port, b"late"))
                try:
                    client.socket.recv(100)
                    check(False, "the relay still answers")
                except ConnectionRefusedError:
                    pass
        equal(server.seen, [b"ping"] * 50, "what the server saw")
        equal(proxy.metric("epif_proxy_open_descriptors"), before, "descriptors")


@promise("malformed datagrams by the thousand leave descriptors and memory where they were, and the association in service")
def malformed():
    def junk(number):
        choice = random.Random(number)
        good = v5_datagram("127.0.0.1", 9, b"x" * choice.randrange(40))
        bad = bytearray(good[:choice.randrange(len(good) + 1)])
        for _ in range(choice.randrange(1, 4)):
            if bad:
                bad[choice.randrange(len(bad))] = choice.randrange(256)
        return bytes(bad)
    with UdpServer() as server, Table() as table:
        with Proxy("--routes", table.write(udp_route("a", server.port))) as proxy, V5(proxy) as client:
            def round_of(start):
                for number in range(start, start + 5_000):
                    client.socket.sendto(junk(number), client.relay)
                    if number % 50 == 0:  # an answer shows that the proxy is not behind
                        client.send(server.host, server.port, b"ping")
                        expect(client, (server.host, server.port, b"re:ping"), "the answer among junk")
            round_of(0)
            descriptors, memory = proxy.metric("epif_proxy_open_descriptors"), memory_kib(proxy.process.pid)
            for start in range(5_000, 25_000, 5_000):
                round_of(start)
            equal(proxy.metric("epif_proxy_open_descriptors"), descriptors, "descriptors")
            grown = memory_kib(proxy.process.pid) - memory
            check(grown < 512, f"memory grew by {grown} KiB over 20,000 malformed datagrams")
            check(drops(proxy, "malformed") > 5_000, "few were found malformed")
            check(set(server.seen) == {b"ping"}, "junk reached the server")


@promise("a withdrawn route cuts its datagrams at once, others go on, and a new one is heard of without a new association")
def live_cut():
    with UdpServer() as one, UdpServer() as other, UdpServer() as third, Table() as table:
        with Proxy("--routes", table.write(udp_route("a", one.port), udp_route("b", other.port))) as proxy, V5(proxy) as client:
            for server in (one, other):
                client.send(server.host, server.port, b"1")
                expect(client, (server.host, server.port, b"re:1"), "the answer before")
            client.send(third.host, third.port, b"1")
            table.write(udp_route("b", other.port), udp_route("c", third.port), generation=2)
            wait_until(lambda: proxy.metric("epif_proxy_routes_generation") == 2, "the new table serves")
            client.send(one.host, one.port, b"2")
            one.socket.sendto(b"unasked", ("127.0.0.1", one.sources[0][1]))
            client.send(other.host, other.port, b"2")
            expect(client, (other.host, other.port, b"re:2"), "the route that stayed")
            client.send(third.host, third.port, b"2")
            expect(client, (third.host, third.port, b"re:2"), "the new route")
            equal((one.seen, third.seen), ([b"1"], [b"2"]), "what the servers saw")
            check("datagrams cut" in proxy.process.output(), "the log does not tell")
            table.write(generation=3)
            check(is_reset(client.control), "the association outlived its last route")


@promise("a route's end and its being blocked hold for datagrams, in both directions")
def expiry():
    with UdpServer() as server, UdpServer() as other, Table() as table:
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        with Proxy("--routes", table.write(udp_route("a", server.port, expires=end), udp_route("b", other.port))) as proxy, V5(proxy) as client:
            for to in (server, other):
                client.send(to.host, to.port, b"1")
                expect(client, (to.host, to.port, b"re:1"), "the answer before")

            def is_over():
                client.send(server.host, server.port, b"2")
                return drops(proxy, "denied") > 0
            wait_until(is_over, "the route ends")
            while not silent(client.socket):
                pass
            server.socket.sendto(b"late", ("127.0.0.1", server.sources[0][1]))
            wait_until(lambda: drops(proxy, "unasked") == 1, "the late answer is counted")
            table.write(udp_route("b", other.port, blocked="consent withdrawn"), udp_route("c", 9), generation=2)
            wait_until(lambda: proxy.metric("epif_proxy_routes_generation") == 2, "the new table serves")
            client.send(other.host, other.port, b"2")
            wait_until(lambda: "consent withdrawn" in proxy.process.output(), "the reason stands in the log")
            equal(other.seen, [b"1"], "what the other server saw")


@promise("a route that only carries data one way lets little come back")
def one_way():
    with UdpServer(answer=lambda payload: payload) as server, Table() as table:
        route = udp_route("a", server.port, data="push", limits={"reverse_bytes": 3_000})
        with Proxy("--routes", table.write(route)) as proxy, V5(proxy) as client:
            for _ in range(5):
                client.send(server.host, server.port, b"x" * 1_000)
            for _ in range(3):
                equal(len(client.receive()[2]), 1_000, "the answer within the limit")
            wait_until(lambda: drops(proxy, "limit") == 2, "what came beyond the limit is counted")
            equal(len(server.seen), 5, "datagrams to the server")


@promise("names and routes of one client do not help another: each association decides for itself")
def sources_differ():
    with UdpServer() as server, Table() as table:
        route = udp_route("a", server.port)
        route["sources"] = ["127.0.0.5/32"]
        with Proxy("--routes", table.write(route)) as proxy:
            equal(v5_code(proxy, v5_associate()[3:]), 2, "an association from another source")
            control = socket.create_connection(("127.0.0.1", proxy.port), 10, source_address=("127.0.0.5", 0))
            control.sendall(v5_associate())
            equal(read_exactly(control, 12)[1 + 2], 0, "the association of the route's source")
            control.close()


@promise("a hundred associations at once on several threads, each with its own answers")
def many():
    with UdpServer() as server, Proxy("--allow-all", "--threads", "4") as proxy:
        clients = [V5(proxy) for _ in range(100)]
        for turn in range(3):
            for number, client in enumerate(clients):
                client.send(server.host, server.port, b"%d/%d" % (number, turn))
            for number, client in enumerate(clients):
                expect(client, (server.host, server.port, b"re:%d/%d" % (number, turn)), f"client {number}")
        equal(proxy.metric("epif_proxy_udp_associations"), 100, "associations")
        for client in clients:
            client.__exit__()
        wait_until(lambda: proxy.metric("epif_proxy_udp_associations") == 0, "all end")


@promise("a stop cuts associations")
def stop():
    with UdpServer() as server, Proxy("--allow-all") as proxy, V5(proxy) as client:
        client.send(server.host, server.port, b"ping")
        expect(client, (server.host, server.port, b"re:ping"), "the answer")
        proxy.process.stop()
        check(proxy.process.code() == 0, f"it ended with {proxy.process.code()}")
        read_all_or_reset(client.control)


def read_all_or_reset(connection):
    try:
        equal(read_all(connection), b"", "what came at the end")
    except ConnectionResetError:
        pass


run()
