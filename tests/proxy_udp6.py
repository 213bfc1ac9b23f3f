#!/usr/bin/python3
"""epif proxy relays datagrams by SOCKS6 UDP ASSOCIATE, over UDP and inside of the connection. client ── proxy ── server."""
import contextlib
import errno
import os
import random
import socket
import ssl
import struct

from lab import check, equal, promise, run, wait_until
from proxy_datagrams import V5, V6, UdpServer, drops, expect, memory_kib, silent, stack, udp_route, v6_associate, v6_datagram
from proxy_tables import Pair, Table
from proxy_world import Proxy, is_reset, option, read_exactly, v6_reply

EVEN, ODD = 1, 2


def error_reports(wanted=2):
    return stack(2, 5, 1, wanted)


def parity(wanted, reserve=0):
    return stack(2, 5, 2, wanted, reserve)


def answered(message, server, payload):
    equal((message[0], message[2:]), (3, (server.host, server.port, payload)), "the datagram that came back")


@promise("inside of the connection: confirmation first, then answers; IPv4, IPv6, large, empty, and cut at every byte")
def in_the_connection():
    with UdpServer() as four, UdpServer("::1") as six, Proxy("--allow-all") as proxy, V6(proxy) as client:
        check(client.bound[1] > 0, "the reply names no port")
        client.send(four.host, four.port, b"ping")
        equal(client.message(), (2, client.number), "the confirmation")
        answered(client.message(), four, b"re:ping")
        client.send(six.host, six.port, b"ping")
        answered(client.message(), six, b"re:ping")
        client.send(four.host, four.port, b"")
        answered(client.message(), four, b"re:")
        big = os.urandom(60_000)
        client.send(four.host, four.port, big)
        answered(client.message(), four, b"re:" + big)
        for byte in v6_datagram(client.number, four.host, four.port, b"slow"):
            client.control.sendall(bytes([byte]))
        answered(client.message(), four, b"re:slow")
        client.control.sendall(b"".join(v6_datagram(client.number, four.host, four.port, b"%d" % i) for i in range(40)))
        equal(sorted(client.message()[4] for _ in range(40)), sorted(b"re:%d" % i for i in range(40)), "what came back of one write")


@promise("over the UDP port of the listener's number: the first datagram fixes the path, others are not taken")
def over_udp():
    with UdpServer() as server, Proxy("--allow-all") as proxy, V6(proxy) as client:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as foreign:
            foreign.bind(("127.0.0.9", 0))
            client.send_udp(server.host, server.port, b"foreign host", through=foreign)
            client.send_udp(server.host, server.port, b"ping")
            equal(client.message(), (2, client.number), "the confirmation")
            answered(client.receive_udp(), server, b"re:ping")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            client.send_udp(server.host, server.port, b"other port", through=other)
            client.send(server.host, server.port, b"in the connection")
            wait_until(lambda: drops(proxy, "wrong_path") == 2, "both wrong paths are counted")
        client.socket.sendto(v6_datagram(bytes(8), server.host, server.port, b"no such number"), client.port)
        client.socket.sendto(v6_datagram(client.number, server.host, server.port, b"cut")[:-1], client.port)
        client.socket.sendto(v6_datagram(client.number, server.host, server.port, b"padded") + b"padding", client.port)
        answered(client.receive_udp(), server, b"re:padded")
        equal(server.seen, [b"ping", b"padded"], "what the server saw")
        equal((drops(proxy, "foreign_source"), drops(proxy, "no_association"), drops(proxy, "malformed")), (1, 1, 1), "drops")


@promise("answers over UDP come from the address that the client wrote to, although the proxy listens on all")
def wildcard():
    with UdpServer() as server, Proxy("--allow-all", listen="0.0.0.0:0") as proxy, V6(proxy) as client:
        client.port = ("127.0.0.3", proxy.port)
        client.send_udp(server.host, server.port, b"ping")
        client.message()
        equal(client.socket.recvfrom(100)[1], ("127.0.0.3", proxy.port), "the source of the answer")


@promise("a client that only listens is confirmed by an empty datagram to nowhere, and hears hosts that speak first")
def server_first():
    with Proxy("--allow-all") as proxy, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host:
        host.bind(("127.0.0.1", 0))
        for number, inside in enumerate((True, False), 1):
            with V6(proxy) as client:
                host.sendto(b"too early", client.bound)
                wait_until(lambda: drops(proxy, "no_path") == number, "what came too early is counted")
                (client.send if inside else client.send_udp)("0.0.0.0", 0, b"")
                equal(client.message(), (2, client.number), "the confirmation")
                host.sendto(b"first word", client.bound)
                got = client.message() if inside else client.receive_udp()
                equal(got[2:], ("127.0.0.1", host.getsockname()[1], b"first word"), "what the client heard")
    with Table() as table, Proxy("--routes", table.write(udp_route("a", 9))) as proxy, V6(proxy) as client:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host:
            host.bind(("127.0.0.1", 0))
            client.send("0.0.0.0", 0, b"")
            client.message()
            host.sendto(b"nobody asked", client.bound)
            wait_until(lambda: drops(proxy, "unasked") == 1, "the stranger is counted")
            check(silent(client.control), "the client heard a host that no route names")


@promise("an error report tells of a closed port, on the path of the datagrams, only if it was asked for")
def reports():
    with Proxy("--allow-all") as proxy, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        closed.close()
        for host in ("127.0.0.1", "::1"):
            with V6(proxy, options=error_reports()) as client:
                check(error_reports() in client.options, "the wish is not answered")
                client.send(host, port, b"x")
                client.message()
                kind, _, about, about_port, rest = client.message()
                equal((kind, about, about_port, rest[1]), (4, host, port, 2), "the report")
                equal(rest[4:], socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host), "the reporter")
            with V6(proxy, options=error_reports()) as client:
                client.send_udp(host, port, b"x")
                equal(client.receive_udp()[:1] + client.message()[:1], (4, 2), "a report over UDP")
        with UdpServer() as server, V6(proxy, options=error_reports(1)) as client:
            client.send("127.0.0.1", port, b"x")
            client.message()
            client.send(server.host, server.port, b"ping")
            answered(client.message(), server, b"re:ping")


@promise("TOS, TTL and No Fragmentation are in force on what is relayed, in both families, and the reply says so")
def traffic_options():
    wishes = stack(2, 1, 1, 0x20) + stack(3, 1, 3, 33) + stack(2, 1, 4, 2)
    told = (stack(2, 1, 1, 0x20), stack(2, 1, 3, 33), stack(2, 1, 4, 2))
    with Proxy("--allow-all") as proxy, V6(proxy, options=wishes) as client:
        for fact in told:
            check(fact in client.options, f"{fact.hex()} is not in {client.options.hex()}")
        for host, level, ask, get in (("127.0.0.1", socket.IPPROTO_IP, (socket.IP_RECVTOS, 12), {1: 0x20, 2: 33}),
                                      ("::1", socket.IPPROTO_IPV6, (socket.IPV6_RECVTCLASS, socket.IPV6_RECVHOPLIMIT),
                                       {socket.IPV6_TCLASS: 0x20, socket.IPV6_HOPLIMIT: 33})):
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as server:
                server.bind((host, 0))
                server.settimeout(10)
                for kind in ask:
                    server.setsockopt(level, kind, 1)
                client.send(host, server.getsockname()[1], b"x")
                items = server.recvmsg(100, 256)[1]
                equal({kind: int.from_bytes(data, "little") for _, kind, data in items}, get, f"TOS and TTL at {host}")


@promise("TOS, TTL and No Fragmentation of the client's leg are in force on the datagrams that it gets, and on nobody else's")
def client_leg_options():
    wishes = stack(1, 1, 1, 0x28) + stack(3, 1, 3, 44) + stack(1, 1, 4, 2)
    told = (stack(1, 1, 1, 0x28), stack(1, 1, 3, 44), stack(2, 1, 3, 44), stack(1, 1, 4, 2))

    def arrived(udp):
        data, items, _, _ = udp.recvmsg(70_000, 256)
        return len(data), {kind: int.from_bytes(value, "little") for _, kind, value in items}
    for host, level, ask, tos, ttl in (
            ("127.0.0.1", socket.IPPROTO_IP, (socket.IP_RECVTOS, 12), 1, 2),
            ("::1", socket.IPPROTO_IPV6, (socket.IPV6_RECVTCLASS, socket.IPV6_RECVHOPLIMIT), socket.IPV6_TCLASS, socket.IPV6_HOPLIMIT)):
        with UdpServer() as server, Proxy("--allow-all", listen=f"[{host}]:0" if ":" in host else f"{host}:0") as proxy:
            with V6(proxy, options=wishes, host=host) as client, V6(proxy, host=host) as plain:
                for fact in told:
                    check(fact in client.options, f"{fact.hex()} is not in {client.options.hex()}")
                for one in (client, plain):
                    for kind in ask:
                        one.socket.setsockopt(level, kind, 1)
                    one.send_udp(server.host, server.port, b"ping")
                equal(arrived(client.socket)[1], {tos: 0x28, ttl: 44}, f"TOS and TTL of the wish, {host}")
                equal(arrived(plain.socket)[1], {tos: 0, ttl: 64}, f"TOS and TTL of another client on the same port, {host}")
                if ":" in host:  # loopback's MTU is 65,536 with the headers
                    server.answer = lambda payload: bytes(int(payload))
                    for one in (client, plain):
                        one.send_udp(server.host, server.port, b"65500")
                    equal(arrived(plain.socket)[0], 65_520, "what came in fragments to a client without the wish")
                    wait_until(lambda: drops(proxy, "too_big") == 1, "what must not be fragmented is dropped and counted")


@promise("port parity: even or odd as wished, its neighbour kept for the same client alone, and freed at the end")
def port_parity():
    def taken(port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError as error:
                return error.errno == errno.EADDRINUSE
            return False

    def code(port, source):
        with socket.create_connection(("127.0.0.1", proxy.port), 10, source_address=(source, 0)) as control:
            control.sendall(v6_associate(port=port))
            return v6_reply(control)[2]
    with Proxy("--allow-all") as proxy:
        for wish, rest in ((EVEN, 0), (ODD, 1)):
            with V6(proxy, options=parity(wish)) as client:
                equal(client.bound[1] % 2, rest, "the port's parity")
                check(parity(wish) in client.options, "the wish is not answered")
        with V6(proxy, options=parity(EVEN, 1)) as rtp:
            check(parity(EVEN, 1) in rtp.options, "the neighbour was not kept")
            rtcp_port = rtp.bound[1] + 1
            check(taken(rtcp_port), "the kept port is free")
            check(code(rtcp_port, "127.0.0.5") != 0, "another client got the kept port")
            with V6(proxy, port=rtcp_port) as rtcp:
                equal(rtcp.bound[1], rtcp_port, "the claimed port")
        wait_until(lambda: not taken(rtcp_port), "the port is free again")
        equal(code(rtcp_port, "127.0.0.5"), 0, "once it is free, anybody")


@promise("a port below 1024 and a name to bind to are refused under routes, an address that is not ours always")
def where_to_bind():
    with Table() as table, Proxy("--routes", table.write(udp_route("a", 9))) as proxy:
        for request, wanted in ((v6_associate(port=123), 2), (v6_associate("name.example"), 8), (v6_associate("192.0.2.1"), 1)):
            with proxy.connect() as client:
                client.sendall(request)
                check(v6_reply(client)[2] in (wanted, 3, 4), "the refusal")
        with V6(proxy, address="127.0.0.1") as client:
            equal(client.bound[0], "127.0.0.1", "the address that was asked for")


@promise("a route's idle limit ends an association that carries nothing any more, in either protocol")
def idle():
    with UdpServer() as server, Table() as table:
        with Proxy("--routes", table.write(udp_route("a", server.port, limits={"idle_s": 1}))) as proxy:
            with V5(proxy) as five, V6(proxy) as six:
                five.send(server.host, server.port, b"ping")
                expect(five, (server.host, server.port, b"re:ping"), "the answer by SOCKS5")
                six.send(server.host, server.port, b"ping")
                equal(six.message()[0], 2, "the confirmation")
                answered(six.message(), server, b"re:ping")
                for control in (five.control, six.control):
                    equal(control.recv(1), b"", "the end")


@promise("a next proxy that cannot be spoken to loses datagrams, with the reason in the log, and nothing else")
def no_certificate():
    with UdpServer() as server, Table() as table:
        route = udp_route("a", server.port, next={"proxy": "127.0.0.1:9", "identity": "research/proxy"})
        clear = udp_route("b", server.port, "127.0.0.2", next={"proxy": "127.0.0.1:9"})
        with Proxy("--routes", table.write(route, clear)) as proxy, V5(proxy) as client:
            for _ in range(3):
                client.send(server.host, server.port, b"x")
                client.send("127.0.0.2", server.port, b"x")
            wait_until(lambda: drops(proxy, "unreachable") >= 3, "what cannot leave is counted")
            wait_until(lambda: "lost their next proxy" in proxy.process.output(), "the log tells")
            check("wants a certificate" in proxy.process.output(), "the log does not tell why")
            table.write(generation=2)
            is_reset(client.control)
            equal(server.seen, [], "what the server saw")


@promise("what breaks the protocol in the connection ends it, by the thousand without a trace")
def breaches():
    with Proxy("--allow-all") as proxy:
        junk = [b"\x05", b"\x06\x07", b"\x06\x03\0\x0b", b"\x06\x01\0\x0c" + bytes(8), b"\x06\x03\0\x0f" + bytes(11)]

        def round_of(count):
            for number in range(count):
                with V6(proxy) as client:
                    client.control.sendall(junk[number % len(junk)])
                    is_reset(client.control)  # returns once the proxy has ended it, either way
            wait_until(lambda: proxy.metric("epif_proxy_udp_associations") == 0, "all associations end")
        round_of(200)
        descriptors, memory = proxy.metric("epif_proxy_open_descriptors"), memory_kib(proxy.process.pid)
        round_of(2_000)
        equal(proxy.metric("epif_proxy_open_descriptors"), descriptors, "descriptors")
        grown = memory_kib(proxy.process.pid) - memory
        check(grown < 512, f"memory grew by {grown} KiB over 2,000 broken associations")


@promise("mutated datagrams at the UDP port by the thousand leave descriptors and memory where they were")
def mutated():
    with UdpServer() as server, Table() as table:
        with Proxy("--routes", table.write(udp_route("a", server.port))) as proxy, V6(proxy) as client:
            client.send_udp(server.host, server.port, b"ping")
            client.message()
            answered(client.receive_udp(), server, b"re:ping")
            choice = random.Random(6)

            def round_of(count):
                for number in range(count):
                    junk = bytearray(v6_datagram(client.number, "127.0.0.1", 9, b"x" * choice.randrange(40)))
                    for _ in range(choice.randrange(1, 4)):
                        junk[choice.randrange(len(junk))] = choice.randrange(256)
                    client.socket.sendto(junk[:choice.randrange(1, len(junk) + 1)], client.port)
                    if number % 50 == 0:
                        client.send_udp(server.host, server.port, b"ping")
                        answered(client.receive_udp(), server, b"re:ping")
            round_of(5_000)
            descriptors, memory = proxy.metric("epif_proxy_open_descriptors"), memory_kib(proxy.process.pid)
            round_of(20_000)
            equal(proxy.metric("epif_proxy_open_descriptors"), descriptors, "descriptors")
            grown = memory_kib(proxy.process.pid) - memory
            check(grown < 512, f"memory grew by {grown} KiB over 20,000 mutated datagrams")
            check(set(server.seen) == {b"ping"}, "junk reached the server")
            check('"flow":"UDP association"' in proxy.get("/flows"), "/flows does not tell of it")


@promise("datagrams reach their association on any of several threads")
def many_threads():
    with UdpServer() as server, Proxy("--allow-all", "--threads", "5") as proxy, contextlib.ExitStack() as open_ones:
        clients = [open_ones.enter_context(V6(proxy)) for _ in range(60)]
        for turn in range(3):
            for number, client in enumerate(clients):
                client.send_udp(server.host, server.port, b"%d/%d" % (number, turn))
            for number, client in enumerate(clients):
                answered(client.receive_udp(), server, b"re:%d/%d" % (number, turn))
        equal(drops(proxy, "no_association"), 0, "datagrams at the wrong thread")


@promise("a client that does not read loses datagrams, and the proxy's memory stays bounded")
def slow_reader():
    with UdpServer(answer=lambda payload: payload * 40) as server, Proxy("--allow-all") as proxy, V6(proxy) as client:
        client.send(server.host, server.port, b"x" * 1_000)
        client.message()
        client.message()
        memory = memory_kib(proxy.process.pid)
        client.control.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def full():
            client.control.sendall(v6_datagram(client.number, server.host, server.port, b"x" * 1_000) * 20)
            return drops(proxy, "congested") > 0
        wait_until(full, "datagrams are dropped", within=20)
        check(memory_kib(proxy.process.pid) - memory < 4_096, "memory grew")


@promise("clients that do not read hold a bounded amount together, by source, and another source is served")
def slow_readers():
    with UdpServer(answer=lambda payload: payload * 60) as server, Proxy("--allow-all") as proxy, contextlib.ExitStack() as stack:
        def associate(source):
            made = socket.socket()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            made.settimeout(10)
            made.bind((source, 0))
            made.connect(("127.0.0.1", proxy.port))
            return stack.enter_context(V6(connection=made))
        clients = [associate("127.0.0.1") for _ in range(80)]

        def full():
            for client in clients:
                client.send(server.host, server.port, b"x" * 1_000)
            return proxy.metric("epif_proxy_udp_queued_bytes") > 15 << 20
        wait_until(full, "much waits", within=20)
        for _ in range(10):
            full()
        queued = proxy.metric("epif_proxy_udp_queued_bytes")
        check(queued <= 16 << 20, f"{queued} bytes wait")
        other = associate("127.0.0.2")
        other.send(server.host, server.port, b"ping")
        equal(other.message(), (2, other.number), "the confirmation")
        answered(other.message(), server, b"ping" * 60)
        for client in clients:
            client.control.close()
        wait_until(lambda: proxy.metric("epif_proxy_udp_queued_bytes") == 0, "the bytes come back")


@promise("the log names a client by its address, never by its session, whose id is a credential")
def no_credentials():
    with Table() as table, Proxy("--routes", table.write(udp_route("a", 9))) as proxy, V6(proxy, options=option(5, b"")) as client:
        log = proxy.process.output
        session = client.authenticated[client.authenticated.index(b"\x00\x06\x00\x14") + 4:][:16]
        client.send("127.0.0.1", 10, b"denied")
        wait_until(lambda: "datagrams refused" in log(), "the refusal is told")
        client.send("127.0.0.1", 9, b"granted")
        client.message()
        wait_until(lambda: proxy.metric("epif_proxy_udp_destinations") == 1, "the destination is in use")
        table.write(udp_route("b", 11))
        wait_until(lambda: "datagrams cut" in log(), "the cut is told")
        equal(len([line for line in log().splitlines() if "from=127.0.0.1 " in line]), 2, "lines with the address")
        check(session.hex() not in log().lower(), "the session's id stands in the log")


@promise("an association keeps eight next proxies at most, and drops what would need a ninth")
def few_next():
    ports = range(20_001, 20_010)
    with Pair([near(f"r{port}", port) for port in ports], [far(f"r{port}", port) for port in ports]) as pair, V5(pair.near) as client:
        for port in ports:
            client.send("127.0.0.1", port, b"ping")
        wait_until(lambda: drops(pair.near, "limit") == 1, "the ninth is counted")
        wait_until(lambda: pair.far.metric("epif_proxy_udp_associations") == 8, "the others stand")
        equal(pair.near.metric("epif_proxy_udp_next_proxies"), 8, "in metrics")
        client.control.close()
        wait_until(lambda: pair.far.metric("epif_proxy_udp_associations") == 0, "all end with the association")
        equal(pair.near.metric("epif_proxy_udp_next_proxies"), 0, "in metrics")


def near(id, port, **fields):
    return udp_route(id, port, **fields)


def far(id, port, **fields):
    return {"id": id, "peers": ["umc/proxy"], "destination": f"127.0.0.1:{port}", "protocol": "udp", **fields}


@promise("two proxies: datagrams pass inside of TLS, by address and by name, errors come back, and the far one decides, too")
def through_next():
    with UdpServer() as server, UdpServer() as unknown, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        gone = closed.getsockname()[1]
        closed.close()
        near_routes = [near("a/b", server.port, name="pacs.example"), near("u", unknown.port), near("g", gone)]
        far_routes = [far("a/b", server.port, name="pacs.example"), far("g", gone)]
        with Pair(near_routes, far_routes) as pair:
            with V5(pair.near) as client:
                client.send(server.host, server.port, b"ping")
                expect(client, (server.host, server.port, b"re:ping"), "the answer")
                client.send("pacs.example", server.port, b"by name")
                expect(client, (server.host, server.port, b"re:by name"), "the answer to a name")
                big = os.urandom(50_000)
                client.send(server.host, server.port, big)
                expect(client, (server.host, server.port, b"re:" + big), "a large one")
                client.send(unknown.host, unknown.port, b"not at the far proxy")
                wait_until(lambda: "datagrams lost their next proxy" in pair.near.process.output(), "the far proxy refuses")
                equal(unknown.seen, [], "what the unknown server saw")
            with V6(pair.near, options=error_reports()) as client:
                client.send("127.0.0.1", gone, b"x")
                client.message()
                equal(client.message()[:1] + (gone,), (4, gone), "the report from behind two proxies")
            wait_until(lambda: pair.far.metric("epif_proxy_udp_associations") == 0, "the far association ends with the near one")


@promise("a route withdrawn at the far proxy cuts its datagrams, and one that returns is found again")
def far_cut():
    with UdpServer() as server, Pair([near("a", server.port)], [far("a", server.port)]) as pair, V5(pair.near) as client:
        client.send(server.host, server.port, b"1")
        expect(client, (server.host, server.port, b"re:1"), "the answer before")
        pair.write_far()
        wait_until(lambda: pair.far.metric("epif_proxy_udp_associations") == 0, "the far association is cut")
        client.send(server.host, server.port, b"2")
        pair.write_far(far("a", server.port))
        wait_until(lambda: pair.far.metric("epif_proxy_routes") == 1, "the route is back")

        def again():
            client.send(server.host, server.port, b"3")
            return not silent(client.socket, 0.2)
        wait_until(again, "datagrams pass again")
        check(b"2" not in server.seen, "a datagram passed while there was no route")


@promise("a certified client's datagrams stay inside of TLS: SOCKS6 works there, SOCKS5 is told that it cannot")
def inside_tls():
    with UdpServer() as server, Pair([], [far("a", server.port, peers=["umc/client"])]) as pair:
        words = pair.identity("umc/client")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_cert_chain(words[1], words[3])
        context.load_verify_locations(words[5])
        port = int(pair.next["proxy"].rsplit(":", 1)[1])

        def connect():
            return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10))
        with V6(connection=connect()) as client:
            client.send(server.host, server.port, b"ping")
            equal(client.message(), (2, client.number), "the confirmation")
            answered(client.message(), server, b"re:ping")
            client.send(server.host, server.port + 1, b"denied")
            client.send(server.host, server.port, b"again")
            answered(client.message(), server, b"re:again")
        with connect() as control:
            control.sendall(b"\x05\x01\0\x05\x03\0\x01" + bytes(4) + struct.pack(">H", 0))
            equal(read_exactly(control, 4)[3], 7, "the reply to SOCKS5")


run()
