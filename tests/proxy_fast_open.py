#!/usr/bin/python3
"""The bound of a client's TCP Fast Open wish (draft-12): so many of its first bytes travel in the SYN to the server, and no more.
proxy 10.1.0.1 ── 10.1.0.20 server; the client is the proxy's neighbour on its node."""
import contextlib
import socket
import threading

from lab import Lab, Setting, check, epif, equal, promise, run
from proxy_datagrams import stack
from proxy_world import echo, read_exactly, v6_reply, v6_request

PORT, FIRST = 7001, bytes(range(256)) * 3
TCP_FASTOPEN = 23
SYN, ACK = 0x02, 0x10


class World(Setting):
    def __init__(self):
        super().__init__(Lab("fastopen"))

    def build(self):
        lab = self.lab
        self.node, self.server = lab.node("proxy"), lab.node("server")
        lab.link(self.node, "10.1.0.1/24", self.server, "10.1.0.20/24")
        for node in (self.node, self.server):
            node.sysctl("net.ipv4.tcp_fastopen", 3)
        self.listener = self.server.listen(PORT, "10.1.0.20")
        self.listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
        threading.Thread(target=self.serve, daemon=True).start()
        proxy = self.node.start(epif(), "proxy", "--listen", "127.0.0.1:1080", "--allow-all", name="proxy")
        proxy.wait_for_log("proxy ready ")

    def take_down(self):
        self.listener.close()

    def serve(self):
        def answer(connection):
            with connection, contextlib.suppress(OSError):
                echo(connection)
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(self.listener.accept()[0],), daemon=True).start()

    def ask(self, options):
        """Sends a request and all first bytes at once. What the reply tells, and the bytes of the SYN to the server."""
        wire = self.node.capture("server", f"tcp dst port {PORT}")
        with self.node.connect("127.0.0.1", 1080) as client:
            client.sendall(v6_request(PORT, "10.1.0.20", options) + FIRST)
            _, _, code, told = v6_reply(client)
            equal(code, 0, "the reply")
            equal(read_exactly(client, len(FIRST)), FIRST, "the bytes that came back, in order")
        syns = [packet.payload for packet in wire.stop().packets() if packet.flags & (SYN | ACK) == SYN]
        equal(len(syns), 1, "SYNs")
        return told, syns[0]


@promise("first bytes beyond the bound of Fast Open wait for the handshake: the SYN bears what the client allowed, and all arrive in order")
def bound():
    wish = lambda most: stack(2, 4, 1, most >> 8, most & 0xff)
    with World() as world:
        told, syn = world.ask(wish(0))
        equal((told, syn), (wish(0), b""), "the first time the cookie is asked for")
        size = len(FIRST)
        for most, allowed in ((100, 100), (1, 1), (size - 1, size - 1), (size, size), (65535, size), (0, size)):
            told, syn = world.ask(wish(most))
            equal(syn, FIRST[:allowed], f"the bytes of the SYN, a bound of {most}")
            equal(told, wish(most), "what is told")
        told, syn = world.ask(b"")
        check((told, syn) == (b"", b""), f"without a wish: {told.hex()}, {len(syn)} bytes in the SYN")


@promise("a reply claims Fast Open only where the node does it: connecting by one bit of net.ipv4.tcp_fastopen, listening by the other")
def claims():
    wish = stack(2, 4, 1, 0)

    def listens():
        with world.node.connect("127.0.0.1", 1080) as client:
            client.sendall(v6_request(0, "0.0.0.0", wish, 2))
            _, _, code, told = v6_reply(client)
            equal(code, 0, "the reply to a BIND")
            return told
    with World() as world:
        for allowed in range(4):
            world.node.sysctl("net.ipv4.tcp_fastopen", allowed)
            connected = world.ask(wish)[0]
            equal((connected, listens()), (wish if allowed & 1 else b"", wish if allowed & 2 else b""), f"what is told with {allowed}")


run()
