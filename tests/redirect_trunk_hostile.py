#!/usr/bin/python3
"""What a client may try on a trunk of the proxy, frames made by hand. No network but loopback."""
import contextlib
import os
import random
import socket
import ssl
import struct
import tempfile
import time

from lab import check, equal, promise, run, wait_until
from proxy_datagrams import stack
from proxy_tables import Table, openssl
from proxy_world import Proxy, Server, echo, is_reset, option, read_exactly, v5_credentials, v5_request, v6_reply, v6_request

DATA, RESET, CREDIT, DRAIN, MOVED = range(5)
OPENS, ENDS = 1, 2
OFFER, OPEN, JOIN = range(3)
NOTHING = bytes(16)
WINDOW = 65_536


def wish(what, token=NOTHING, stream=0):
    return option(0xFCE3, bytes([1, what, 0, 0]) + token + struct.pack(">I", stream))


def noop(options):
    return v6_request(0, "0.0.0.0", options, command=0)


def frame(kind, stream, body=b"", flags=0):
    return struct.pack(">BBHI", kind, flags, len(body), stream) + body


def connect(proxy, source="127.0.0.1"):
    made = socket.create_connection(("127.0.0.1", proxy.port), 10, (source, 0))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def ask(proxy, options, source="127.0.0.1", made=None):
    """(connection, authentication, reply code, token in the answer) to a NOOP."""
    made = made or connect(proxy, source)
    made.sendall(noop(options))
    kind, _, code, told = v6_reply(made)
    token = told[8:24] if told and told[:2] == b"\xfc\xe3" else None
    return made, kind, code, token


class Trunk:
    """The client's side. What came for a stream is in `data`, how it stands in `over`: None, "end" or "reset"."""

    def __init__(self, proxy, options=b"", source="127.0.0.1", made=None):
        self.connection, kind, code, self.token = ask(proxy, wish(OPEN) + options, source, made)
        equal((kind, code), (0, 0), "the answer to open")
        check(self.token and self.token != NOTHING, "no token")
        self.next, self.data, self.over, self.frames = 1, {}, {}, []

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.connection.close()

    def send(self, *frames):
        self.connection.sendall(b"".join(frames))

    def open(self, first, number=None):
        number = number or self.next
        self.next = number + 1
        self.data[number], self.over[number] = b"", None
        self.send(frame(DATA, number, first, OPENS))
        return number

    def take(self):
        kind, flags, length, stream = struct.unpack(">BBHI", read_exactly(self.connection, 8))
        body = read_exactly(self.connection, length) if length else b""
        self.frames.append((kind, stream))
        if kind == DATA:
            self.data[stream] = self.data.get(stream, b"") + body
            if flags & ENDS:
                self.over[stream] = "end"
        if kind == RESET:
            self.over[stream] = "reset"

    def until(self, condition):
        deadline = time.monotonic() + 20
        while not condition():
            check(time.monotonic() < deadline, f"nothing comes of it; frames {self.frames[-5:]}")
            self.take()

    def reply(self, stream):
        """Code of the SOCKS6 reply on the stream, behind a good authentication."""
        def part(size):
            self.until(lambda: len(self.data[stream]) >= size or self.over[stream])
            check(len(self.data[stream]) >= size, f"stream {stream}: {self.over[stream]} after {self.data[stream].hex()}")
            got, self.data[stream] = self.data[stream][:size], self.data[stream][size:]
            return got
        _, failed, length = struct.unpack(">BBH", part(4))
        part(length)
        equal(failed, 0, "authentication")
        head = part(8)
        part({1: 4, 4: 16}[head[7]] + struct.unpack(">H", head[2:4])[0])
        return head[1]

    def flow(self, port, first=b""):
        """A stream whose CONNECT is granted."""
        number = self.open(v6_request(port) + first)
        equal(self.reply(number), 0, "reply")
        return number

    def said(self, stream, word):
        self.data[stream] = b""
        self.send(frame(DATA, stream, word))
        self.until(lambda: len(self.data[stream]) >= len(word))
        equal(self.data[stream], word, "echo")


@contextlib.contextmanager
def served(*words):
    with Server(echo) as server, Proxy(*(words or ("--allow-all",))) as proxy:
        yield server, proxy


def refused_join(proxy, token, stream, source="127.0.0.1"):
    made, kind, code, _ = ask(proxy, wish(JOIN, token, stream), source)
    with made:
        equal(kind, 0, "authentication")
        check(code != 0, "a join was granted")


@promise("a join with a wrong token, a dead one, or a stranger's is refused and hurts nobody; one's own for a stream that is not there neither")
def joins():
    with served() as (server, proxy), Trunk(proxy) as trunk, Trunk(proxy, source="127.0.0.2") as other:
        mine, theirs = trunk.flow(server.port), other.flow(server.port)
        for token in (NOTHING, os.urandom(16), trunk.token[:15] + bytes([trunk.token[15] ^ 1])):
            refused_join(proxy, token, mine)
        refused_join(proxy, trunk.token, mine, source="127.0.0.2")
        refused_join(proxy, other.token, theirs)
        for stream in (0, 77, 0xFFFFFFFF):
            made, _, code, _ = ask(proxy, wish(JOIN, trunk.token, stream))
            equal(code, 0, "the answer to a join of a stream that has ended meanwhile")
            made.settimeout(10)
            with made, contextlib.suppress(ConnectionError):
                equal(made.recv(1), b"", "what follows")
        trunk.said(mine, b"mine")
        other.said(theirs, b"theirs")
        with Trunk(proxy) as gone:
            dead = gone.token
        wait_until(lambda: proxy.metric("epif_proxy_trunks") == 2, "the third trunk is gone")
        refused_join(proxy, dead, 1)


@promise("a NOOP that opens a trunk or joins one tells what is in force for its stack options, as any other does")
def options_told():
    wishes = stack(1, 1, 1, 0x28) + stack(2, 4, 2, 1)
    with served() as (server, proxy), Trunk(proxy) as trunk:
        stream = trunk.flow(server.port)
        trunk.send(frame(MOVED, stream))
        for name, options in (("open", wish(OPEN)), ("join", wish(JOIN, trunk.token, stream)), ("neither", b"")):
            with connect(proxy) as made:
                made.sendall(noop(options + wishes))
                kind, _, code, told = v6_reply(made)
                equal((kind, code, told[:16]), (0, 0, wishes), f"{name}: the answer, and the options in it")
                equal(told[16:18], options[:2], f"{name}: consent")


@promise("a stream that joins goes on in its own connection, from the first byte there, and a second join of it changes nothing")
def joined():
    with served("--allow-all", "--threads", "2") as (server, proxy), Trunk(proxy) as trunk:
        for turn in range(6):  # either thread
            stream = trunk.flow(server.port)
            trunk.said(stream, b"before")
            trunk.data[stream] = b""
            trunk.send(frame(DATA, stream, b"by the trunk "), frame(MOVED, stream))
            made = connect(proxy)
            with made:
                made.sendall(noop(wish(JOIN, trunk.token, stream)) + b"at once ")
                kind, _, code, _ = v6_reply(made)
                equal((kind, code), (0, 0), "the answer")
                made.sendall(b"and later")
                trunk.until(lambda: (MOVED, stream) in trunk.frames)
                rest = len(b"by the trunk at once and later") - len(trunk.data[stream])
                equal(trunk.data[stream] + read_exactly(made, rest), b"by the trunk at once and later", "echo")
                again, _, code, _ = ask(proxy, wish(JOIN, trunk.token, stream))
                again.close()
                made.sendall(b"still")
                equal(read_exactly(made, 5), b"still", "echo after a second join")
                if turn % 2:
                    made.shutdown(socket.SHUT_WR)
                    equal(made.recv(1), b"", "the end")
                else:
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: proxy.metric('epif_proxy_connections{stage="open"}') == 0, "all are over")
        trunk.said(trunk.flow(server.port), b"the trunk stands")


@promise("each stream is decided on its own: without a route, with another's flow, in other versions; a denied one sends nothing upstream")
def decided():
    with Table() as table, Server(echo) as server, Server(echo) as secret:
        routes = table.write({"id": "a", "sources": ["127.0.0.0/8"], "destination": f"127.0.0.1:{server.port}"})
        with Proxy("--routes", routes) as proxy, Trunk(proxy) as trunk:
            granted = trunk.flow(server.port)
            for request in (v6_request(secret.port), v6_request(secret.port, options=wish(OFFER)), v6_request(server.port, "127.0.0.2")):
                check(trunk.reply(trunk.open(request)) == 2, "not refused by the ruleset")
            five = trunk.open(b"\5\1\0" + v5_request(secret.port))
            trunk.until(lambda: len(trunk.data[five]) >= 4)
            equal(trunk.data[five][3], 2, "reply of SOCKS5")
            trunk.said(granted, b"granted")
            equal((secret.accepted, proxy.metric("epif_proxy_flows_opened_total")), (0, 1), "connections at the other server, flows opened")
            table.write()
            trunk.until(lambda: trunk.over[granted] == "reset")
            check(trunk.reply(trunk.open(v6_request(server.port))) == 2, "the withdrawn route is open")


@promise("a stream that has moved is cut with its route, at both ends")
def moved_cut():
    with Table() as table, Server(echo) as server:
        routes = table.write({"id": "a", "sources": ["127.0.0.0/8"], "destination": f"127.0.0.1:{server.port}"})
        with Proxy("--routes", routes) as proxy, Trunk(proxy) as trunk:
            halves = trunk.flow(server.port)
            stream = trunk.flow(server.port)
            made, _, code, _ = ask(proxy, wish(JOIN, trunk.token, stream))
            half, _, code, _ = ask(proxy, wish(JOIN, trunk.token, halves))  # and never says that it has moved
            with made, half:
                trunk.send(frame(MOVED, stream))
                made.sendall(b"moved")
                equal(read_exactly(made, 5), b"moved", "echo")
                table.write()
                check(is_reset(made) and is_reset(half), "an end in order of a flow that was cut")
                trunk.until(lambda: trunk.over[halves] == trunk.over[stream] == "reset")


@promise("where the proxy wants name and password, a trunk does not open without, and none of its streams")
def passwords():
    credentials = option(4, b"\2" + v5_credentials("alice", "wonder"))
    with tempfile.TemporaryDirectory() as folder, Server(echo) as server:
        path = os.path.join(folder, "users")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write("alice:wonder\n")
        with Proxy("--allow-all", "--user-file", path) as proxy:
            for what in (OPEN, JOIN):
                made, kind, code, token = ask(proxy, wish(what))
                with made:
                    check(kind != 0 and code is None and token is None, "authenticated without a password")
                    made.sendall(frame(DATA, 1, v6_request(server.port), OPENS))
                    with contextlib.suppress(ConnectionError):
                        equal(made.recv(100), b"", "what follows")
            with Trunk(proxy, credentials) as trunk:
                bare = trunk.open(v6_request(server.port))
                trunk.until(lambda: trunk.data[bare])
                check(trunk.data[bare][:2] != b"\6\0", "a stream authenticated without a password")
                known = trunk.open(v6_request(server.port, options=credentials))
                equal(trunk.reply(known), 0, "reply with the password")
                trunk.said(known, b"known")


def short_lived(folder, name, seconds):
    """A CA, a proxy's certificate of it, and one of `name` that ends so soon. Gives the moment."""
    at = lambda file: os.path.join(folder, file)  # noqa: E731 - one line, used below
    openssl("req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", at("ca.key"), "-out", at("ca.pem"), "-days", "2",
            "-subj", "/CN=test", "-addext", "basicConstraints=critical,CA:TRUE")
    write(at("ca.conf"), f"[ca]\ndatabase={at('index')}\nnew_certs_dir={folder}\nserial={at('serial')}\ndefault_md=default\nunique_subject=no\n"
          f"policy=any\ncertificate={at('ca.pem')}\nprivate_key={at('ca.key')}\n[any]\ncommonName=optional\n")
    write(at("index"), "")
    write(at("serial"), "01\n")
    for who, lives in (("umc/proxy", 3600), (name, seconds)):
        stem = at(who.replace("/", "-"))
        openssl("req", "-newkey", "ed25519", "-nodes", "-keyout", stem + ".key", "-out", stem + ".csr", "-subj", "/CN=x")
        write(stem + ".ext", f"subjectAltName=URI:epif://{who}\n")
        end = int(time.time()) + lives
        openssl("ca", "-batch", "-notext", "-config", at("ca.conf"), "-name", "ca", "-in", stem + ".csr", "-out", stem + ".pem",
                "-extfile", stem + ".ext", "-enddate", time.strftime("%Y%m%d%H%M%SZ", time.gmtime(end)))
    return end


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


@promise("once a client's certificate is past its end, its trunk lets no new flow in, and those that stand go on")
def past_its_end():
    with tempfile.TemporaryDirectory(prefix="epif-trunk-") as folder, Server(echo) as server:
        end = short_lived(folder, "umc/node", 5)
        files = {kind: os.path.join(folder, kind) for kind in ("ca.pem", "umc-proxy.pem", "umc-proxy.key", "umc-node.pem", "umc-node.key")}
        with Proxy("--tls-listen", "127.0.0.1:0", "--cert", files["umc-proxy.pem"], "--key", files["umc-proxy.key"], "--ca", files["ca.pem"],
                   "--allow-all", listen=None) as proxy:
            context = ssl.create_default_context(cafile=files["ca.pem"])
            context.check_hostname = False
            context.load_cert_chain(files["umc-node.pem"], files["umc-node.key"])
            with Trunk(proxy, made=context.wrap_socket(connect(proxy))) as trunk:
                flow = trunk.flow(server.port)
                trunk.said(flow, b"in time")
                wait_until(lambda: time.time() > end, "the certificate has ended", 20)
                late = trunk.open(v6_request(server.port))
                check(trunk.reply(late) != 0, "a new flow of a client whose certificate has ended")
                trunk.said(flow, b"goes on")
                equal(proxy.metric("epif_proxy_flows_opened_total"), 1, "flows opened")


@promise("the limit of connections from a source counts streams, and frees their places")
def limited():
    with served("--allow-all", "--max-connections-per-source", "10") as (server, proxy), Trunk(proxy) as trunk:
        streams = [trunk.open(v6_request(server.port)) for _ in range(30)]
        trunk.until(lambda: all(len(trunk.data[s]) >= 16 or trunk.over[s] for s in streams))
        granted = [s for s in streams if trunk.data[s][5:6] == b"\0"]
        equal(len(granted), 9, "streams that were granted, beside the trunk itself")
        for stream in granted:
            trunk.send(frame(RESET, stream))
        wait_until(lambda: proxy.metric('epif_proxy_connections{stage="open"}') == 0, "they are gone")
        trunk.said(trunk.flow(server.port), b"a free place")


@promise("no trunk in a trunk, no BIND and no UDP association on one, and none beside SOCKS6 or with --trunk off")
def not_there():
    with served() as (server, proxy), Trunk(proxy) as trunk:
        for what in (OPEN, JOIN):
            inner = trunk.open(noop(wish(what, trunk.token, 1)))
            trunk.until(lambda: len(trunk.data[inner]) >= 16 or trunk.over[inner])
            check(b"\xfc\xe3" not in trunk.data[inner], "a trunk in a trunk")
        for command in (2, 3):
            equal(trunk.reply(trunk.open(v6_request(server.port, command=command))), 7, f"reply to command {command}")
        trunk.said(trunk.flow(server.port), b"goes on")
    with served("--allow-all", "--trunk", "off") as (server, proxy):
        for what in (OPEN, JOIN):
            made, _, _, token = ask(proxy, wish(what))
            made.close()
            equal(token, None, "consent")
        equal(proxy.metric("epif_proxy_trunks"), 0, "trunks")


@promise("floods of streams that open and reset, and frames for streams that are gone, end in nothing left, and others are served meanwhile")
def floods():
    with served() as (server, proxy), Trunk(proxy) as other:
        with Trunk(proxy) as trunk:
            standing = other.flow(server.port)
            for _ in range(40):
                first = trunk.next
                trunk.send(*(frame(DATA, first + i, v6_request(server.port)[:i % 16], OPENS) + frame(RESET, first + i) for i in range(500)))
                trunk.next += 500
                trunk.send(*(frame(kind, first + i, bytes(4) if kind == CREDIT else b"") for i in range(500) for kind in (RESET, CREDIT, MOVED)))
                other.said(standing, b"meanwhile")
        wait_until(lambda: proxy.metric("epif_proxy_trunks") == 1, "the flooded trunk is gone", 20)
        wait_until(lambda: proxy.metric('epif_proxy_connections') == 1, "its streams are gone", 20)
        other.said(standing, b"afterwards")


@promise("who takes nothing from the trunk holds what it asked for, bounded, and is dropped with it")
def reads_nothing():
    def pours(peer):
        with contextlib.suppress(OSError):
            while True:
                peer.sendall(b"x" * 65_536)
    with Server(pours) as server, Server(echo) as fine, Proxy("--allow-all") as proxy, Trunk(proxy) as other:
        standing = other.flow(fine.port)
        with Trunk(proxy) as trunk:
            trunk.connection.settimeout(2)
            trunk.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with contextlib.suppress(OSError):
                for _ in range(100):
                    trunk.open(v6_request(server.port))
                for batch in range(1, 1000):
                    trunk.send(*(frame(DATA, batch * 1000 + number, b"\x09", OPENS) for number in range(1000)))
                    other.said(standing, b"meanwhile")
            wait_until(lambda: proxy.metric("epif_proxy_trunks") == 1, "the other's trunk alone stands", 20)
        other.said(standing, b"afterwards")


@promise("bytes that break the protocol end the trunk with an error at its flows, and nothing else")
def breaches():
    bad = [frame(9, 1), frame(DATA, 0, b"x", OPENS), frame(DATA, 5, b"", 0), frame(DRAIN, 0), frame(CREDIT, 1, b"\0\0\0"),
           frame(CREDIT, 1, b"\xff" * 4), frame(CREDIT, 1, struct.pack(">I", WINDOW)), frame(RESET, 1, b"x"), frame(DATA, 1, b"x", OPENS),
           frame(DATA, 1, b"x", 4), frame(MOVED, 1) + frame(DATA, 1, b"behind"), frame(DATA, 1, b"", ENDS) + frame(DATA, 1, b"behind")]
    seen = []

    def watch(peer):
        peer.sendall(b"go")
        peer.settimeout(20)
        seen.append(is_reset(peer))
    with Server(watch) as server, Server(echo) as fine, Proxy("--allow-all") as proxy, Trunk(proxy) as other:
        standing = other.flow(fine.port)
        for number, bytes_of_it in enumerate(bad):
            with Trunk(proxy) as trunk:
                stream = trunk.flow(server.port)
                trunk.until(lambda: trunk.data[stream] == b"go")
                trunk.send(bytes_of_it)
                with contextlib.suppress(ConnectionError):
                    while trunk.connection.recv(4096):
                        pass
                wait_until(lambda: len(seen) == number + 1, f"the server is told after {bytes_of_it.hex()}")
        equal(seen[:-1], [True] * (len(bad) - 1), "resets at the server")  # the last had its own end before the breach
        other.said(standing, b"not touched")


@promise("a trunk that ends under its streams, at any byte, is an error at their servers, never an end")
def truncated():
    seen = []

    def watch(peer):
        peer.settimeout(20)
        data = b""
        try:
            while more := peer.recv(4096):
                data += more
            seen.append((data, "end"))
        except ConnectionError:
            seen.append((data, "reset"))
    with Server(watch) as server, Proxy("--allow-all") as proxy:
        whole = frame(DATA, 1, b"0123456789") + frame(DATA, 1, b"abc", ENDS)
        for cut in range(len(whole) + 1):
            with Trunk(proxy) as trunk:
                trunk.flow(server.port)
                trunk.send(whole[:cut])
            wait_until(lambda: len(seen) == cut + 1, f"the server is told after {cut} bytes")
            data, how = seen[-1]
            check(b"0123456789abc".startswith(data), f"{data!r} of {cut} bytes")
            check(how == "reset" or data == b"0123456789abc", f"an end after {cut} bytes with {data!r}")
        equal(seen[-1][0], b"0123456789abc", "all of it")


@promise("frames of chance leave the proxy serving, and nothing behind")
def chance():
    chosen = random.Random(11)
    with served("--allow-all", "--threads", "2") as (server, proxy), Trunk(proxy) as other:
        standing = other.flow(server.port)
        for _ in range(150):
            with Trunk(proxy) as trunk:
                wild = b""
                for _ in range(chosen.randrange(1, 40)):
                    kind = chosen.choice([DATA, DATA, DATA, RESET, CREDIT, MOVED, DRAIN, 7] if chosen.random() < 0.1 else [DATA, DATA, RESET, MOVED, CREDIT])
                    body = {DATA: chosen.choice([v6_request(server.port), b"\6", b"x" * chosen.randrange(1, 3000)]), CREDIT: struct.pack(">I", chosen.randrange(2))}.get(kind, b"")
                    if kind == DATA and chosen.random() < 0.6:
                        wild += frame(kind, trunk.next, body, chosen.choice([OPENS, OPENS | ENDS]))
                        trunk.next += chosen.randrange(1, 3)
                    else:
                        wild += frame(kind, chosen.randrange(1, trunk.next + 1), body, chosen.choice([0, 0, ENDS]) if kind == DATA else 0)
                with contextlib.suppress(OSError):
                    trunk.send(wild)
                    for stream in range(1, 3):
                        made, _, _, _ = ask(proxy, wish(JOIN, trunk.token, stream))
                        made.sendall(wild[:chosen.randrange(100)])
                        made.close()
        other.said(standing, b"serves")
        wait_until(lambda: proxy.metric("epif_proxy_trunks") == 1, "one trunk stands", 20)
        wait_until(lambda: proxy.metric('epif_proxy_connections{stage="open"}') == 1, "one flow", 20)


if __name__ == "__main__":
    run(needs_root=False)
