#!/usr/bin/python3
"""epif proxy speaks SOCKS4, 4a, 5 and 6 on one port, however the bytes are cut. client ── proxy ── server, on loopback."""
import socket
import struct
import subprocess
import time

import socks

from lab import check, equal, promise, run, wait_until
from proxy_world import (Proxy, Server, curl, echo, free_port, option, read_all, read_exactly, v4_request, v4a_request,
                         v5_code, v5_credentials, v5_name_request, v5_request, v6_name_request, v6_reply, v6_request)

TOS, TTL, TFO, MPTCP = b"\x81\x01\x20\0", b"\x81\x03\x21\0", b"\x84\x01\0\0", b"\x84\x02\x02\0"


def handshakes(port):
    """name -> (all bytes of the client, bytes of the answer)"""
    initial = option(2, struct.pack(">H", 4) + b"\x02")
    login = option(4, b"\x02" + v5_credentials("ann", "secret"))
    return {
        "4": (v4_request(port), 8),
        "4a": (v4a_request(port), 8),
        "5": (b"\x05\x02\0\x02" + v5_request(port), 2 + 10),
        "5 by name": (b"\x05\x01\0" + v5_name_request(port), 2 + 10),
        "6": (v6_request(port), 4 + 12),
        "6 by name, password, initial data, stack option": (v6_name_request(port, options=initial + login + option(1, TOS)), 4 + 12 + 8),
    }


@promise("every handshake works when cut at every byte, with application data behind it in the same segment")
def every_split():
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        for name, (request, answer) in handshakes(server.port).items():
            stream = request + b"ping"
            for cut in range(1, len(stream)):
                with proxy.connect() as client:
                    client.sendall(stream[:cut])
                    time.sleep(0.001)  # lets the first part travel alone; either way the answer must be the same
                    client.sendall(stream[cut:])
                    read_exactly(client, answer)
                    equal(read_exactly(client, 4), b"ping", f"SOCKS{name} cut at {cut}")


@promise("a handshake that arrives byte by byte works")
def byte_by_byte():
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        for name, (request, answer) in handshakes(server.port).items():
            with proxy.connect() as client:
                for byte in request + b"ping":
                    client.sendall(bytes([byte]))
                read_exactly(client, answer)
                equal(read_exactly(client, 4), b"ping", f"SOCKS{name}")


@promise("curl works with socks4, socks4a, socks5 and socks5h, over IPv4 and IPv6")
def with_curl():
    def http(connection):
        while b"\r\n\r\n" not in connection.recv(65536):
            pass
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")
    with Server(http) as four, Server(http, "::1") as six, Proxy("--allow-all") as proxy:
        for scheme in ("socks4", "socks4a", "socks5", "socks5h"):
            equal(curl("-x", f"{scheme}://127.0.0.1:{proxy.port}", f"http://127.0.0.1:{four.port}/")[1], b"hello", scheme)
        for scheme in ("socks4a", "socks5h"):
            equal(curl("-x", f"{scheme}://127.0.0.1:{proxy.port}", f"http://localhost:{four.port}/")[1], b"hello", scheme + " by name")
        equal(curl("-x", f"socks5://127.0.0.1:{proxy.port}", f"http://[::1]:{six.port}/")[1], b"hello", "socks5 to IPv6")


@promise("a name with a dead and a live address family connects to the live one")
def both_families():
    with Server(echo) as four, Proxy("--allow-all") as proxy, proxy.connect() as client:
        client.sendall(b"\x05\x01\0" + v5_name_request(four.port, "localhost") + b"ping")
        read_exactly(client, 12)
        equal(read_exactly(client, 4), b"ping", "what came back")


@promise("PySocks and ncat work")
def with_other_clients():
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        for kind in (socks.SOCKS4, socks.SOCKS5):
            client = socks.socksocket()
            client.set_proxy(kind, "127.0.0.1", proxy.port)
            client.settimeout(10)
            with client:
                client.connect(("127.0.0.1", server.port))
                client.sendall(b"ping")
                equal(client.recv(4), b"ping", f"PySocks kind {kind}")
        for kind in ("socks4", "socks5"):
            done = subprocess.run(["ncat", "--proxy", f"127.0.0.1:{proxy.port}", "--proxy-type", kind, "127.0.0.1", str(server.port)],
                                  input=b"ping", capture_output=True, timeout=20)
            equal(done.stdout, b"ping", f"ncat {kind}: {done.stderr}")


@promise("each failure has its own reply code")
def reply_codes():
    closed = free_port()
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        equal(v5_code(proxy, v5_request(closed)), 5, "SOCKS5, refused")
        equal(v5_code(proxy, v5_name_request(80, "no-such-host.invalid")), 4, "SOCKS5, unknown name")
        equal(v5_code(proxy, v5_request(server.port, command=9)), 7, "SOCKS5, command 9")
        equal(v5_code(proxy, b"\x05\x01\0\x02\x7f\0\0\x01\0\x50"), 8, "SOCKS5, address type 2")
        with proxy.connect() as client:
            client.sendall(v4_request(closed))
            equal(read_exactly(client, 2), b"\0\x5b", "SOCKS4, refused")
        for request, code in ((v6_request(closed), 5), (v6_name_request(80, "no-such-host.invalid"), 4),
                              (v6_request(server.port, command=9), 7),
                              (b"\x06\x01\0\0\0\x50\0\x02\x7f\0\0\x01", 8), (v6_request(server.port, options=b"\0\x05\0\x08"), 1)):
            with proxy.connect() as client:
                client.sendall(request + b"early data that nobody wants")
                equal(v6_reply(client)[2], code, f"SOCKS6 {request.hex()}")
                equal(read_all(client), b"", "what follows the refusal")


@promise("SOCKS6: NOOP is answered, another version gets the byte 06, stack options are answered as far as supported")
def socks6_specifics():
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        with proxy.connect() as client:
            client.sendall(b"\x06\0\0\0\0\0\0\x01\0\0\0\0")
            equal(v6_reply(client)[2], 0, "NOOP")
            equal(read_all(client), b"", "after NOOP")
        with proxy.connect() as client:
            client.sendall(b"\x07\x01\0\0")
            equal(read_all(client), b"\x06", "the answer to version 7")
        wishes = option(1, TOS) + option(1, TTL) + option(1, TFO) + option(1, MPTCP) + option(1, b"\x81\x7f\x01\0")
        with proxy.connect() as client:
            client.sendall(v6_request(server.port, options=wishes) + b"ping")
            told = v6_reply(client)[3]
            told = {told[i + 4:i + 6]: told[i + 6:i + 8] for i in range(0, len(told), 8)}
            equal(told, {TOS[:2]: TOS[2:], TTL[:2]: TTL[2:], TFO[:2]: TFO[2:], MPTCP[:2]: b"\x01\0"}, "stack options told")
            equal(read_exactly(client, 4), b"ping", "the early data")


@promise("SOCKS6: each option is answered on its leg, the first of two that contradict counts, Happy Eyeballs only for names, MPTCP if spoken")
def stack_options():
    def told(request):
        with proxy.connect() as client:
            client.sendall(request + b"ping")
            options = v6_reply(client)[3]
            equal(read_exactly(client, 4), b"ping", "the early data")
            return [options[i + 4:i + 8] for i in range(0, len(options), 8)]

    def asks(*wishes):
        return b"".join(option(1, wish) for wish in wishes)
    whole, fragments = b"\x04\x02\0", b"\x04\x01\0"
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        equal(sorted(told(v6_request(server.port, options=asks(b"\xc1\x01\x28\0", b"\xc1\x03\x2a\0", b"\xc1" + whole)))),
              sorted(leg + wish for leg in (b"\x41", b"\x81") for wish in (b"\x01\x28\0", b"\x03\x2a\0", whole)), "both legs")
        equal(told(v6_request(server.port, options=asks(b"\x41\x01\x28\0", b"\xc1\x01\x20\0", b"\x81\x01\x10\0"))),
              [b"\x41\x01\x28\0", b"\x81\x01\x10\0"], "the first counts, and what overlaps with it does not")
        equal(told(v6_request(server.port, options=asks(b"\x81" + fragments))), [b"\x81" + fragments], "fragments allowed")
        for wish in (b"\x01", b"\x02"):
            eyeballs = b"\x81\x02" + wish + b"\0"
            equal(told(v6_name_request(server.port, options=asks(eyeballs))), [eyeballs], "Happy Eyeballs for a name")
            equal(told(v6_request(server.port, options=asks(eyeballs))), [], "Happy Eyeballs for an address")
        equal(sorted(told(v6_request(server.port, options=asks(b"\x85\x01\x02\0", b"\x85\x02\x01\x01", b"\x84\x03\0\x05")))),
              [b"\x84\x03\0\0", b"\x85\x01\x01\0", b"\x85\x02\0\0"], "UDP's and BIND's: off, none and not granted")
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            with proxy.connect() as client:
                client.sendall(v6_request(listener.getsockname()[1], options=asks(MPTCP)))
                equal(v6_reply(client)[3][4:], MPTCP, "MPTCP to a server that speaks it")
        equal(told(v6_request(server.port, options=asks(MPTCP))), [b"\x84\x02\x01\0"], "MPTCP to a server that does not")


@promise("passwords: the right one opens, a wrong or missing one does not, in SOCKS5 and SOCKS6, and SOCKS4 is refused")
def passwords():
    with Server(echo) as server, Proxy("--allow-all", "--user", "ann:secret", "--user", "bob:with:colon") as proxy:
        url = f"http://127.0.0.1:{server.port}/"
        equal(curl("-x", f"socks5://ann:wrong@127.0.0.1:{proxy.port}", url)[0], 97, "curl with a wrong password")
        for user, password, status in (("ann", "secret", 0), ("bob", "with:colon", 0), ("ann", "secreT", 1), ("eve", "secret", 1)):
            with proxy.connect() as client:
                client.sendall(b"\x05\x02\0\x02" + v5_credentials(user, password) + v5_request(server.port))
                equal(read_exactly(client, 4), b"\x05\x02\x01" + bytes([status]), f"SOCKS5 {user}")
                if status == 0:
                    equal(read_exactly(client, 10)[1], 0, "the operation")
                else:
                    equal(read_all(client), b"", "after a wrong password")
            with proxy.connect() as client:
                client.sendall(v6_request(server.port, options=option(4, b"\x02" + v5_credentials(user, password))) + b"early")
                kind, told, code, _ = v6_reply(client)
                equal((kind, told, code), (status, option(4, b"\x02\x01" + bytes([status])), 0 if status == 0 else None), f"SOCKS6 {user}")
        with proxy.connect() as client:
            client.sendall(b"\x05\x01\0")
            equal(read_all(client), b"\x05\xff", "SOCKS5 without a method that is acceptable")
        with proxy.connect() as client:
            client.sendall(v6_request(server.port, options=option(2, b"\0\0\x01")))
            equal(v6_reply(client)[:2], (1, option(3, b"\xff")), "SOCKS6 that offers GSSAPI only")
            equal(read_all(client), b"", "after it")
        with proxy.connect() as client:
            client.sendall(v4_request(server.port))
            equal(read_exactly(client, 2), b"\0\x5b", "SOCKS4")
        wait_until(lambda: server.accepted >= 4, "the server's thread has counted")
        equal(server.accepted, 4, "connections that reached the server")


@promise("a silent client meets the handshake deadline, and an endless request is refused")
def silence_and_noise():
    with Proxy("--allow-all") as proxy:
        with proxy.connect() as slow, proxy.connect() as noisy:
            slow.settimeout(15)
            slow.sendall(b"\x05")
            noisy.sendall(b"\x04\x01\0\x50\x7f\0\0\x01" + b"x" * 1000)
            equal(noisy.recv(2), b"\0\x5b", "the answer to an endless user id")
            check(read_all(slow) == b"", "the slow client was answered")
        check("timeout" in proxy.process.output(), "the log does not tell of the deadline")


run(needs_root=False)
