#!/usr/bin/python3
"""What RFC 1928, RFC 1929, SOCKS4/4a and draft-olteanu-intarea-socks-6-12 say in single sentences that no other test is about.
client ── proxy ── server, on loopback."""
import contextlib
import os
import socket
import struct
import tempfile
import time

from lab import check, equal, promise, run, wait_until
from proxy_datagrams import V5, V6, UdpServer, drops, stack, v5_datagram, v6_datagram
from proxy_world import (Proxy, Server, echo, free_port, option, read_all, read_exactly, v4_request, v5_credentials, v5_request,
                         v6_name_request, v6_reply, v6_request)


def changed(message, at, *values):
    made = bytearray(message)
    made[at:at + len(values)] = values
    return bytes(made)


@promise("reserved bytes and padding are sent as zero, and ignored where they come with something else")
def reserved():
    with Server(echo) as server, UdpServer() as udp, Proxy("--allow-all") as proxy:
        for request in (changed(v6_request(server.port), 6, 0xff), changed(v6_name_request(server.port), 6, 0xff)):
            with proxy.connect() as client:
                client.sendall(request + b"ping")
                head = read_exactly(client, 16)
                equal((head[:6], head[10]), (b"\6\0\0\0\6\0", 0), "SOCKS6: the replies, and their padding")
                equal(read_exactly(client, 4), b"ping", "SOCKS6")
        with proxy.connect() as client:
            client.sendall(b"\5\1\0" + changed(v5_request(server.port), 2, 0xff) + b"ping")
            equal(read_exactly(client, 5), b"\5\0\5\0\0", "SOCKS5: the replies")
            read_exactly(client, 7)
            equal(read_exactly(client, 4), b"ping", "SOCKS5")
        with V5(proxy) as five, V6(proxy) as six:
            five.socket.sendto(changed(v5_datagram(udp.host, udp.port, b"five"), 0, 1, 2), five.relay)
            equal(five.receive()[2], b"re:five", "a datagram of SOCKS5")
            six.socket.sendto(changed(v6_datagram(six.number, udp.host, udp.port, b"six"), 13, 0xff), six.port)
            message = six.socket.recv(100)
            equal((message[13], message[-6:]), (0, b"re:six"), "a datagram of SOCKS6")


@promise("options of kinds that are unknown, withdrawn or not for requests are ignored, in any number and order")
def unknown_kinds():
    foreign = b"".join(option(kind, bytes(range(8))) for kind in (0, 7, 16, 17, 18, 19, 300, 0xFBFF, 0xFC00, 0xFFFF))
    replies = option(3, b"\x02") + option(8, b"") + option(9, b"") + option(12, bytes(8)) + option(14, b"") + option(15, b"")
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        for options in (foreign, replies, foreign + option(1, b"\x81\x01\x20\0") + replies):
            with proxy.connect() as client:
                client.sendall(v6_request(server.port, options=options) + b"ping")
                kind, told, code, stack_told = v6_reply(client)
                equal((kind, told, code), (0, b"", 0), "the replies")
                equal(stack_told, option(1, b"\x81\x01\x20\0") if b"\x81\x01" in options else b"", "what is told")
                equal(read_exactly(client, 4), b"ping", "the bytes")


@promise("option lengths that cannot be fail the whole request, with nothing sent upstream")
def impossible_lengths():
    good = option(1, b"\x81\x01\x20\0")
    blocks = {"zero": b"\0\1\0\0" + bytes(4), "shorter than its own head": b"\0\1\0\2" + bytes(4), "no multiple of 4": b"\0\1\0\6" + bytes(4),
              "beyond the block": b"\0\1\0\x0c" + bytes(4), "behind a good one": good + b"\0\1\0\1", "of a foreign kind": b"\xfd\xe8\0\5" + bytes(4),
              "half a head": good + b"\0\1"}
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        for name, block in blocks.items():
            with proxy.connect() as client:
                client.sendall(v6_request(server.port, options=block) + b"never to be seen")
                equal(v6_reply(client)[2], 1, f"a length that is {name}")
                equal(read_all(client), b"", f"after a length that is {name}")
        equal(server.accepted, 0, "connections that reached the server")


@promise("names: draft-12 counts the padding, draft-11 does not, both are taken; empty ones and ones with NUL inside are refused")
def names():
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        port = struct.pack(">H", server.port)
        for field in (b"\x0blocalhost\0\0", b"\x09localhost\0\0", b"\x0flocalhost" + bytes(6)):
            with proxy.connect() as client:
                client.sendall(b"\6\1\0\0" + port + b"\0\3" + field + b"ping")
                equal(v6_reply(client)[2], 0, f"{field!r}")
                equal(read_exactly(client, 4), b"ping", f"{field!r}: what is behind the name")
        for field in (b"\3\0\0\0", b"\0\0\0\0", b"\7local\0h", b"\x09localhost\0x"):
            with proxy.connect() as client:
                client.sendall(b"\6\1\0\0" + port + b"\0\3" + field)
                check(v6_reply(client)[2] in (1, 8), f"{field!r} was taken")
        for field in (b"\0", b"\7local\0h"):
            with proxy.connect() as client:
                client.sendall(b"\5\1\0\5\1\0\3" + field + port)
                equal(read_exactly(client, 4)[2:4], b"\5\1", f"SOCKS5 {field!r}")
        with proxy.connect() as client:
            client.sendall(b"\4\1" + port + b"\0\0\0\1me\0\0")
            equal(read_exactly(client, 2), b"\0\x5b", "SOCKS4a, an empty name")
        equal(server.accepted, 3, "connections that reached the server")


@promise("texts of 255 bytes are taken whole: user, password, host name, user id of SOCKS4; 256 bytes of the latter two are not")
def longest():
    user, password = "u" * 255, "p" * 255
    with tempfile.TemporaryDirectory(prefix="epif-users-") as folder, Server(echo) as server:
        path = os.path.join(folder, "users")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(f"{user}:{password}\n")
        with Proxy("--allow-all", "--user-file", path) as proxy:
            for given, status in ((password, 0), (password[:-1], 1)):
                with proxy.connect() as client:
                    client.sendall(b"\5\1\2" + v5_credentials(user, given) + v5_request(server.port))
                    equal(read_exactly(client, 4), b"\5\2\1" + bytes([status]), "SOCKS5")
                with proxy.connect() as client:
                    client.sendall(v6_request(server.port, options=option(4, b"\2" + v5_credentials(user, given))))
                    equal(v6_reply(client)[0], status, "SOCKS6")
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        for count, code in ((255, 0x5a), (256, 0x5b)):
            with proxy.connect() as client:
                client.sendall(v4_request(server.port)[:8] + b"u" * count + b"\0")
                equal(read_exactly(client, 2), b"\0" + bytes([code]), f"SOCKS4, a user id of {count} bytes")
        label = "x" * 62
        name = ".".join([label] * 4) + ".x"  # of DNS no more than 253 make sense, and 255 may come
        for text in (name, name + "yy"):
            with proxy.connect() as client:
                client.sendall(b"\5\1\0\5\1\0\3" + bytes([len(text)]) + text.encode() + b"\0\x50")
                equal(read_exactly(client, 4)[2:4], b"\5\4", f"SOCKS5, an unknown name of {len(text)} bytes")
            with proxy.connect() as client:
                client.sendall(b"\4\1\0\x50\0\0\0\1me\0" + text.encode() + b"\0")
                equal(read_exactly(client, 2), b"\0\x5b", f"SOCKS4a, an unknown name of {len(text)} bytes")


@promise("RFC 1929: a wrong version of the exchange, an empty user and an empty password are refused, and the connection ends")
def credentials_form():
    with Proxy("--allow-all", "--user", "ann:secret") as proxy:
        for message in (changed(v5_credentials("ann", "secret"), 0, 5), b"\1\0\6secret", b"\1\3ann\0"):
            with proxy.connect() as client:
                client.sendall(b"\5\1\2" + message)
                equal(read_exactly(client, 4), b"\5\2\1\1", f"{message!r}")
                equal(read_all(client), b"", "what follows")
        with proxy.connect() as client:
            client.sendall(b"\5\0")
            equal(read_all(client), b"\5\xff", "a greeting without methods")
        with proxy.connect() as client:
            client.sendall(b"\5\3\1\0\2" + v5_credentials("ann", "secret") + v5_request(9))
            equal(read_exactly(client, 4), b"\5\2\1\0", "the method is chosen among several")


@promise("after a refusal the proxy itself ends the connection within 10 s (RFC 1928 section 6), though the client keeps it open")
def ends_by_itself():
    closed = free_port()
    requests = {"4": v4_request(closed), "4, UDP": changed(v4_request(closed), 1, 3), "5": b"\5\1\0" + v5_request(closed),
                "5, Tor's RESOLVE": b"\5\1\0" + v5_request(closed, command=0xf0), "6": v6_request(closed), "6, NOOP": v6_request(0, "0.0.0.0", command=0),
                "6, command 4": v6_request(closed, command=4), "7": b"\7"}
    with Proxy("--allow-all") as proxy:
        for name, request in requests.items():
            began = time.monotonic()
            with proxy.connect() as client:
                client.sendall(request)
                check(read_all(client), f"SOCKS{name} got no answer")
                check(time.monotonic() - began < 9, f"SOCKS{name}: the end took its time")
        wait_until(lambda: proxy.metric('epif_proxy_held{limit="connections"}') == 0, "nothing of them stays")


def words(block):
    """The stack options that are told, of 8 bytes each."""
    return {block[i:i + 8] for i in range(0, len(block), 8)}


# Ignored without a name, and what has no way to say no: Happy Eyeballs and Fast Open.
SILENT = stack(2, 1, 2, 2) + stack(2, 4, 1, 4, 0xb0)
# Listen Backlog, UDP Error and Port Parity, and what is told where they are not of the command, or nothing came of it.
FOREIGN = stack(2, 4, 3, 0, 5) + stack(2, 5, 1, 2) + stack(2, 5, 2, 1, 1)
DENIED = stack(2, 4, 3, 0, 0) + stack(2, 5, 1, 1) + stack(2, 5, 2, 0, 0)


@promise("a NOOP tells what is in force on the client's leg and what a connection would have, opens nothing, and takes no route")
def noop():
    ours = {stack(1, 1, 1, 0x28), stack(1, 1, 3, 44), stack(1, 1, 4, 2)}
    wishes = stack(1, 1, 1, 0x28) + stack(3, 1, 3, 44) + stack(2, 4, 2, 2) + stack(1, 1, 4, 2) + SILENT + FOREIGN
    probes = {stack(2, 4, 2, 2): stack(2, 4, 2, 2), stack(2, 4, 2, 1): stack(2, 4, 2, 1), stack(2, 1, 1, 0x20): stack(2, 1, 1, 0x20),
              stack(2, 1, 3, 33): stack(2, 1, 3, 33), stack(2, 1, 4, 2): stack(2, 1, 4, 2), stack(2, 1, 4, 1): stack(2, 1, 4, 1),
              SILENT: b"", FOREIGN: DENIED}
    with tempfile.TemporaryDirectory(prefix="epif-routes-") as folder:
        path = os.path.join(folder, "routes.json")
        with open(path, "w", encoding="ascii") as file:
            file.write('{"routes": []}')
        with Proxy("--routes", path) as proxy:
            for head in (b"\0\1" + bytes(4), b"\0\4" + bytes(16)):
                with proxy.connect() as client:
                    client.sendall(b"\6\0" + struct.pack(">HH", len(wishes), 0) + head + wishes)
                    kind, _, code, told = v6_reply(client)
                    equal((kind, code), (0, 0), "the replies")
                    # Multipath gives way to the TTL.
                    equal(words(told), ours | {stack(2, 1, 3, 44), stack(2, 4, 2, 1)} | words(DENIED), "told")
                    equal(read_all(client), b"", "what follows")
            for probe, answer in probes.items():
                with proxy.connect() as client:
                    client.sendall(v6_request(0, "0.0.0.0", probe, 0))
                    equal(v6_reply(client)[2:], (0, answer), f"the probe {probe.hex()}")
            for wish in (stack(2, 1, 2, 1), stack(2, 1, 2, 2)):
                with proxy.connect() as client:
                    client.sendall(changed(v6_name_request(9, options=wish), 1, 0))
                    equal(v6_reply(client)[2:], (0, wish), "Happy Eyeballs, of a NOOP with a name")


@promise("the reply to a NOOP holds an address and a port of zero, whatever the NOOP names, which meets nothing of it")
def noop_fields():
    whole = b"\6\0\0\0" + b"\6\0\0\0\0\0\0\1\0\0\0\0"
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        port = struct.pack(">H", server.port)
        for name, fields in (("zero, IPv4", bytes(2) + b"\0\1" + bytes(4)), ("zero, IPv6", bytes(2) + b"\0\4" + bytes(16)),
                             ("the server", port + b"\0\1\x7f\0\0\1"), ("its name", port + b"\0\3\x0blocalhost\0\0")):
            with proxy.connect() as client:
                client.sendall(b"\6\0\0\0" + fields + b"bytes of nobody")
                equal(read_all(client), whole, name)
        equal(server.accepted, 0, "connections that reached the server")
        equal(proxy.metric("epif_proxy_flows_opened_total"), 0, "flows")


@promise("a failure answers each option: the client's leg as ever, the other with nothing in force, or what a connection would have")
def failures_told():
    wishes = stack(3, 1, 1, 0x28) + stack(3, 1, 3, 44) + stack(3, 1, 4, 2) + stack(2, 4, 2, 2) + SILENT + FOREIGN
    wanted = {stack(1, 1, 1, 0x28), stack(1, 1, 3, 44), stack(1, 1, 4, 2), stack(2, 1, 1, 0x28), stack(2, 1, 3, 44), stack(2, 1, 4, 1),
              stack(2, 4, 2, 1)} | words(DENIED)
    tried, untried = {stack(2, 1, 2, 2)}, {stack(2, 1, 2, 1)}
    at_once = wishes.replace(stack(2, 4, 1, 4, 0xb0), b"")  # data in a SYN would go to one address only
    with tempfile.TemporaryDirectory(prefix="epif-routes-") as folder:
        path = os.path.join(folder, "routes.json")
        with open(path, "w", encoding="ascii") as file:
            file.write('{"routes": []}')
        with Proxy("--allow-all") as open_proxy, Proxy("--routes", path) as closed:
            cases = (("CONNECT, refused by the server", open_proxy, v6_request(free_port(), options=wishes), 5, set()),
                     ("CONNECT by name, refused by the server", open_proxy, v6_name_request(free_port(), options=at_once), 5, tried),
                     ("CONNECT by a name that is unknown", open_proxy, v6_name_request(9, "no-such-host.invalid", wishes), 4, untried),
                     ("CONNECT, no route", closed, v6_request(9, options=wishes), 2, set()),
                     ("CONNECT by name, no route", closed, v6_name_request(9, options=wishes), 2, untried),
                     ("BIND, no route", closed, v6_request(0, "0.0.0.0", wishes, 2), 2, set()),
                     ("UDP ASSOCIATE, no route", closed, v6_request(0, "0.0.0.0", wishes, 3), 2, set()),
                     ("command 9", open_proxy, v6_request(9, options=wishes, command=9), 7, set()))
            for name, proxy, request, code, also in cases:
                with proxy.connect() as client:
                    client.sendall(request)
                    kind, _, reply, told = v6_reply(client)
                    equal((kind, reply), (0, code), name)
                    equal(words(told), wanted | also, f"{name}: told")
                    equal(read_all(client), b"", f"{name}: what follows")
            with open_proxy.connect() as client:
                client.sendall(v6_request(9, options=wishes + b"\0\1\0\2" + bytes(4)))
                equal(v6_reply(client)[2:], (1, b""), "a request that could not be read")


@promise("an association and a BIND that stand answer the options of other commands, too")
def foreign_told():
    multipath = stack(2, 4, 2, 2)
    with Proxy("--allow-all") as proxy:
        with V6(proxy, options=multipath + stack(2, 4, 3, 0, 5)) as client:
            equal(words(client.options), {stack(2, 4, 2, 1), stack(2, 4, 3, 0, 0)}, "an association")
        with proxy.connect() as client:
            client.sendall(v6_request(0, "127.0.0.1", FOREIGN, 2))
            equal(words(v6_reply(client)[3]), words(DENIED), "a BIND")


@promise("the expected peer of a BIND, our own option, narrows it, is ignored elsewhere, and fails the request where it is malformed")
def expected_peer():
    def peer(address, version=1):
        return option(0xFCE2, bytes([version, 0, 0, 0]) + b"\0\0\0\1" + socket.inet_aton(address))
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        with proxy.connect() as client:
            client.sendall(v6_request(server.port, options=peer("127.0.0.9")) + b"ping")
            equal(v6_reply(client)[2], 0, "CONNECT")
            equal(read_exactly(client, 4), b"ping", "the bytes")
        with proxy.connect() as client:
            client.sendall(v6_request(0, "0.0.0.0", peer("127.0.0.9"), 2))
            head = read_exactly(client, 16)
            bound = socket.inet_ntoa(head[12:]), struct.unpack(">H", head[8:10])[0]
            with contextlib.suppress(ConnectionResetError), socket.create_connection(bound, 10) as stranger:  # which may meet the reset itself
                equal(stranger.recv(1), b"", "a stranger's byte")
            with socket.create_connection(bound, 10, source_address=("127.0.0.9", 0)) as expected:
                equal(read_exactly(client, 12)[8:], socket.inet_aton("127.0.0.9"), "who came")
                expected.sendall(b"hello")
                equal(read_exactly(client, 5), b"hello", "the bytes")
        for bad in (peer("127.0.0.9", version=2), option(0xFCE2, b"\1\0\0\0\0\0\0\1"), option(0xFCE2, b"")):
            with proxy.connect() as client:
                client.sendall(v6_request(0, "0.0.0.0", bad, 2))
                check(v6_reply(client)[2] in (1, 8), f"{bad.hex()} was taken")


@promise("multicast is for datagrams: a CONNECT to a group is refused, a datagram to one leaves")
def multicast():
    group = "239.255.7.7"
    with Proxy("--allow-all") as proxy, proxy.connect() as client:
        client.sendall(v6_request(9, group))
        check(v6_reply(client)[2] not in (0, None), "a connection to a group")
    with UdpServer() as server, Proxy("--allow-all") as proxy, V6(proxy) as client:
        client.send(group, server.port, b"to a group")
        equal(client.message()[0], 2, "the confirmation")
        client.send(server.host, server.port, b"ping")
        equal(client.message()[4], b"re:ping", "the association lives on")
        equal(drops(proxy, "denied"), 0, "refused destinations")


run(needs_root=False)
