#!/usr/bin/python3
"""epif proxy's DNS service on port 53 of 0.0.0.0 and ::. client ── proxy ── name server, on loopback."""
import socket
import struct
import subprocess

from lab import check, epif, equal, promise, run
from proxy_datagrams import V5, V6, UdpServer, drops, udp_route
from proxy_tables import Table
from proxy_world import Proxy, Server, read_exactly, v4_request, v5_code, v5_request, v6_reply, v6_request

NAME = b"\x04host\x07example\0"
QUESTION = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + NAME + b"\0\x01\0\x01"
ANSWER = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0" + NAME + b"\0\x01\0\x01" + b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07"


def over_tcp(connection):
    """RFC 7766: many questions in one connection, each after its length."""
    while head := connection.recv(2, socket.MSG_WAITALL):
        if read_exactly(connection, struct.unpack(">H", head)[0]) == QUESTION:
            connection.sendall(struct.pack(">H", len(ANSWER)) + ANSWER)


def answer(payload):
    return ANSWER if payload == QUESTION else None


def v6_any(port):
    return b"\x06\x01\0\0" + struct.pack(">HBB", port, 0, 4) + bytes(16)


@promise("CONNECT to port 53 of no address asks the name server, with RFC 7766 framing, for SOCKS4, 5 and 6")
def by_connect():
    with Server(over_tcp) as server, Proxy("--allow-all", "--dns", f"127.0.0.1:{server.port}") as proxy:
        for request, reply in ((v4_request(53, "0.0.0.0"), 8), (b"\x05\x01\0" + v5_request(53, "0.0.0.0"), 12),
                               (v6_request(53, "0.0.0.0"), 16), (v6_any(53), 16)):
            with proxy.connect() as client:
                client.sendall(request)
                read_exactly(client, reply)
                for _ in range(3):
                    client.sendall(struct.pack(">H", len(QUESTION)) + QUESTION)
                    equal(read_exactly(client, 2 + len(ANSWER))[2:], ANSWER, f"the answer after {request.hex()}")


@promise("datagrams to port 53 of no address ask it, too, and its answers come from there")
def by_datagram():
    with UdpServer(answer=answer) as server, Proxy("--allow-all", "--dns", f"127.0.0.1:{server.port}") as proxy:
        with V5(proxy) as client:
            client.send("0.0.0.0", 53, QUESTION)
            equal(client.receive(), ("0.0.0.0", 53, ANSWER), "the answer by SOCKS5")
            client.send("::", 53, QUESTION)
            equal(client.receive(), ("::", 53, ANSWER), "the answer by SOCKS5, IPv6")
        with V6(proxy) as client:
            client.send("0.0.0.0", 53, QUESTION)
            client.message()
            equal(client.message()[2:], ("0.0.0.0", 53, ANSWER), "the answer by SOCKS6")


@promise("it is offered where a route grants it, and 'refused' is the answer elsewhere; nothing else listens there")
def where_granted():
    with UdpServer(answer=answer) as server, Server(over_tcp, "127.0.0.1") as stream, Table() as table:
        dns = ["--dns", f"127.0.0.1:{stream.port}"]
        with Proxy("--routes", table.write(udp_route("a", 9, protocol="tcp")), *dns) as proxy:
            equal(v5_code(proxy, v5_request(53, "0.0.0.0")), 5, "SOCKS5 without a route")
            with proxy.connect() as client:
                client.sendall(v6_any(53))
                equal(v6_reply(client)[2], 5, "SOCKS6 without a route")
            equal(stream.accepted, 0, "connections at the name server")
        with Proxy("--routes", table.write(udp_route("d", 53, "0.0.0.0", protocol="tcp")), *dns) as proxy:
            equal(v5_code(proxy, v5_request(53, "0.0.0.0")), 0, "with a route")
            equal(v5_code(proxy, v5_request(54, "0.0.0.0")), 2, "another port")
        dns = ["--dns", f"127.0.0.1:{server.port}"]
        with Proxy("--routes", table.write(udp_route("d", 53, "0.0.0.0"), udp_route("a", 9)), *dns) as proxy, V5(proxy) as client:
            client.send("0.0.0.0", 53, QUESTION)
            equal(client.receive()[2], ANSWER, "the answer by datagram")
        with Proxy("--routes", table.write(udp_route("a", 9)), *dns) as proxy, V5(proxy) as client:
            before = len(server.seen)
            client.send("0.0.0.0", 53, QUESTION)
            client.send("0.0.0.0", 54, QUESTION)
            check(drops(proxy, "denied") <= 2, "more drops than datagrams")
            equal(len(server.seen), before, "questions that reached the name server")


@promise("the name server's own refusal is answered, and a wrong --dns is a clear error")
def failures():
    with Proxy("--allow-all", "--dns", "127.0.0.1:1") as proxy:
        equal(v5_code(proxy, v5_request(53, "0.0.0.0")), 5, "a name server that is not there")
    done = subprocess.run([epif(), "proxy", "--listen", "127.0.0.1:0", "--allow-all", "--dns", "here"], capture_output=True, text=True)
    check(done.returncode == 2 and "--dns" in done.stderr, f"{done.returncode}: {done.stderr}")


run()
