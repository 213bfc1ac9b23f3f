#!/usr/bin/python3
"""SOCKS6 sessions, idempotence tokens and authentication replies (draft-12). client ── proxy ── server, on loopback."""
import collections
import contextlib
import os
import signal
import socket
import ssl
import struct
import tempfile
import threading

from lab import check, equal, promise, run, wait_until, write_json
from proxy_tables import Pair
from proxy_world import (TIMEOUT, Proxy, Server, echo, free_port, is_reset, option, read_all, read_exactly, successor, v5_credentials,
                         v6_request)

NOOP = b"\x06\x00%s\0\0\0\x01\0\0\0\0"
LOGIN = option(4, b"\x02" + v5_credentials("ann", "secret"))
ACCEPTED, REFUSED = option(4, b"\x02\x01\0"), option(4, b"\x02\x01\x01")
OPEN, OK, INVALID, TEARDOWN = option(5, b""), option(8, b""), option(9, b""), option(10, b"")
SPENT, REJECTED = option(14, b""), option(15, b"")


def session_id(id):
    return option(6, id)


def token(number):
    return option(13, struct.pack(">I", number))


def options_of(block):
    """kind -> body; a kind twice fails."""
    made = {}
    while block:
        kind, length = struct.unpack(">HH", block[:4])
        check(kind not in made, f"option {kind} twice")
        made[kind], block = block[4:length], block[length:]
    return made


def authentication(connection):
    """(0 for success, the option block)"""
    version, kind, length = struct.unpack(">BBH", read_exactly(connection, 4))
    equal(version, 6, "the version")
    return kind, read_exactly(connection, length)


def operation(connection):
    head = read_exactly(connection, 12)
    equal(head[7], 1, "the address type")
    read_exactly(connection, struct.unpack(">H", head[2:4])[0])
    return head[1]


def noop(proxy, options, source="127.0.0.1"):
    """(authentication, its options, operation or None)"""
    with socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT, source_address=(source, 0)) as client:
        client.sendall(NOOP % struct.pack(">H", len(options)) + options)
        kind, told = authentication(client)
        code = operation(client) if kind == 0 else None
        equal(read_all(client), b"", "what follows")
        return kind, options_of(told), code


@promise("a session is opened in any request, remembers who opened it, and needs no password afterwards, not even a right one")
def a_session():
    with Server(echo) as server, Proxy("--allow-all", "--user", "ann:secret") as proxy:
        kind, told, code = noop(proxy, OPEN + LOGIN)
        equal((kind, code, set(told)), (0, 0, {4, 6}), "opened")
        id = told[6]
        equal(len(id), 16, "bytes of the id")
        wrong = option(4, b"\x02" + v5_credentials("ann", "wrong"))
        equal(noop(proxy, session_id(id) + wrong), (0, {8: b""}, 0), "a wrong password is ignored inside")
        with proxy.connect() as client:
            client.sendall(v6_request(server.port, options=session_id(id)) + b"ping")
            equal(authentication(client), (0, OK), "CONNECT inside")
            equal(operation(client), 0, "the operation")
            equal(read_exactly(client, 4), b"ping", "the bytes")
        equal(noop(proxy, session_id(id) + OPEN), (0, {8: b""}, 0), "no session inside of a session")
        equal(noop(proxy, b""), (1, {}, None), "outside a password is needed")
        equal(noop(proxy, session_id(id), source="127.0.0.2"), (1, {9: b""}, None), "from another address")
        equal(noop(proxy, session_id(id[:12]) + LOGIN), (1, {9: b""}, None), "a part of the id; a password does not help")
        equal(noop(proxy, session_id(b"\0" * 16)), (1, {9: b""}, None), "an id that was never given")
        equal(proxy.metric("epif_proxy_sessions"), 1, "sessions in metrics")
        equal(proxy.metric("epif_proxy_sessions_invalid_total"), 3, "invalid ids in metrics")


@promise("a teardown is part of no session: it needs its own password, and afterwards the id is invalid")
def teardown():
    with Proxy("--allow-all", "--user", "ann:secret", "--user", "bob:other") as proxy:
        id = noop(proxy, OPEN + LOGIN)[1][6]
        equal(noop(proxy, session_id(id) + TEARDOWN), (1, {}, None), "without a password")
        bob = option(4, b"\x02" + v5_credentials("bob", "other"))
        equal(noop(proxy, session_id(id) + TEARDOWN + bob)[0], 0, "somebody else's password authenticates him")
        equal(noop(proxy, session_id(id))[0], 0, "and tears nothing down")
        kind, told, code = noop(proxy, session_id(id) + TEARDOWN + LOGIN)
        equal((kind, set(told), code), (0, {4}, 0), "torn down")
        equal(noop(proxy, session_id(id)), (1, {9: b""}, None), "afterwards")
        equal(proxy.metric("epif_proxy_sessions"), 0, "sessions in metrics")


@promise("a teardown with a CONNECT: the request is part of no session and served by its own password, and the id is invalid from there on")
def teardown_with_request():
    window = option(11, b"\0\0\0\x08")
    with Server(echo) as server, Proxy("--allow-all", "--user", "ann:secret") as proxy:
        _, told, _ = noop(proxy, OPEN + LOGIN + window)
        id, base = told[6], struct.unpack(">II", told[12])[0]
        with proxy.connect() as client:
            client.sendall(v6_request(server.port, options=session_id(id) + TEARDOWN) + b"ping")
            equal(authentication(client), (1, b""), "without a password")
            equal(read_all(client), b"", "what follows")
        equal((server.accepted, proxy.metric("epif_proxy_sessions")), (0, 1), "connections at the server and sessions then")
        with proxy.connect() as inside, proxy.connect() as client:
            inside.sendall(v6_request(server.port, options=session_id(id)) + b"ping")
            equal(authentication(inside)[0], 0, "a connection inside")
            equal(operation(inside), 0, "its operation")
            equal(read_exactly(inside, 4), b"ping", "its bytes")
            # A token of the session is none of this request's, and none is spent; nor is a window asked for, outside of a session.
            client.sendall(v6_request(server.port, options=TEARDOWN + token(base) + window + LOGIN + session_id(id)) + b"pong")
            equal(authentication(client), (0, ACCEPTED), "neither inside nor with a token")
            equal(operation(client), 0, "the operation")
            equal(read_exactly(client, 4), b"pong", "the bytes")
            equal(noop(proxy, session_id(id)), (1, {9: b""}, None), "afterwards")
            inside.sendall(b"more")
            equal(read_exactly(inside, 4), b"more", "what ran inside goes on")
        # One goes and one comes by the same message; and a request that fails has torn down all the same.
        _, told, _ = noop(proxy, OPEN + LOGIN)
        old = told[6]
        kind, told, code = noop(proxy, session_id(old) + TEARDOWN + OPEN + LOGIN)
        equal((kind, set(told), code), (0, {4, 6}, 0), "a new one for an old one")
        check(told[6] != old, "the old id was given again")
        equal(noop(proxy, session_id(old))[0], 1, "the old one")
        with proxy.connect() as client:
            client.sendall(v6_request(free_port(), options=session_id(told[6]) + TEARDOWN + LOGIN))
            equal((authentication(client)[0], operation(client)), (0, 5), "a request that is refused")
        equal(noop(proxy, session_id(told[6])), (1, {9: b""}, None), "its session")
        equal(proxy.metric('epif_proxy_tokens_total{outcome="spent"}'), 0, "tokens spent")
        equal(proxy.metric("epif_proxy_sessions"), 0, "sessions in metrics")


@promise("tokens: one bounded window a session, told in every successful reply; each token is good for one request")
def tokens():
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        equal(noop(proxy, option(11, b"\0\0\0\x20") + token(1)), (0, {}, 0), "outside of a session all of it is ignored")
        _, told, _ = noop(proxy, OPEN + option(11, b"\xff\xff\xff\xff"))
        id, (base, size) = told[6], struct.unpack(">II", told[12])
        equal(size, 4096, "the size is bounded")
        inside = session_id(id)
        equal(noop(proxy, inside + option(11, b"\0\0\0\x08"))[1], {8: b"", 12: told[12]}, "never a second window")
        with proxy.connect() as client:
            client.sendall(v6_request(server.port, options=inside + token(base)) + b"ping")
            kind, block = authentication(client)
            moved = struct.pack(">II", (base + 1) % 2**32, size)
            equal((kind, options_of(block)), (0, {8: b"", 12: moved, 14: b""}), "spent, and the window moved")
            equal(operation(client), 0, "the operation")
            equal(read_exactly(client, 4), b"ping", "the bytes")
        for name, number in (("a second time", base), ("below", base - 1), ("above", base + size + 1)):
            with proxy.connect() as client:
                client.sendall(v6_request(server.port, options=inside + token(number % 2**32)) + b"ping")
                equal(authentication(client), (1, REJECTED), name)
                equal(read_all(client), b"", f"{name}: what follows")
        equal(server.accepted, 1, "connections that reached the server")
        equal(proxy.metric('epif_proxy_tokens_total{outcome="spent"}'), 1, "in metrics")
        equal(proxy.metric('epif_proxy_tokens_total{outcome="rejected"}'), 3, "in metrics")


@promise("a token protects against replay: with one, data may travel in a SYN where the route alone does not permit it")
def replay():
    fast_open = option(1, b"\x84\x01\0\0")
    with tempfile.TemporaryDirectory(prefix="epif-sessions-") as folder, Server(echo) as server:
        path = os.path.join(folder, "routes.json")
        write_json(path, {"routes": [{"id": "r", "sources": ["127.0.0.1/32"], "destination": f"127.0.0.1:{server.port}"}]})
        with Proxy("--routes", path) as proxy:
            _, told, _ = noop(proxy, OPEN + option(11, b"\0\0\0\x08"))
            inside, base = session_id(told[6]), struct.unpack(">II", told[12])[0]
            for options, answer in ((inside, b""), (inside + token(base), fast_open)):
                with proxy.connect() as client:
                    client.sendall(v6_request(server.port, options=options + fast_open) + b"ping")
                    authentication(client)
                    head = read_exactly(client, 12)
                    equal((head[1], read_exactly(client, struct.unpack(">H", head[2:4])[0])), (0, answer), "what is told of Fast Open")
                    equal(read_exactly(client, 4), b"ping", "the bytes")


@promise("of many requests with the same token at once, on all threads, exactly one reaches the server")
def concurrency():
    with Server(echo) as server, Proxy("--allow-all", "--threads", "4") as proxy:
        _, told, _ = noop(proxy, OPEN + option(11, struct.pack(">I", 64)))
        inside, base = session_id(told[6]), struct.unpack(">II", told[12])[0]
        rounds, won = 20, []
        for turn in range(rounds):
            clients = [proxy.connect() for _ in range(16)]
            request = v6_request(server.port, options=inside + token((base + turn) % 2**32))
            gate = threading.Barrier(len(clients))

            def race(client):
                gate.wait()
                client.sendall(request)
                kind, _ = authentication(client)
                if kind == 0 and operation(client) == 0:
                    won.append(turn)
            racers = [threading.Thread(target=race, args=(client,)) for client in clients]
            for racer in racers:
                racer.start()
            for racer in racers:
                racer.join(TIMEOUT)
            for client in clients:
                client.close()
        equal(sorted(won), list(range(rounds)), "the winners")
        wait_until(lambda: server.accepted >= rounds, "the server's thread has counted")
        equal(server.accepted, rounds, "connections that reached the server")


@promise("sessions of one owner are limited, and beyond the limit a request is served without one, silently")
def limited():
    with Proxy("--allow-all") as proxy:
        opened = sum(6 in noop(proxy, OPEN)[1] for _ in range(260))
        equal(opened, 256, "sessions of one address")
        equal(noop(proxy, OPEN), (0, {}, 0), "beyond")
        check(6 in noop(proxy, OPEN, source="127.0.0.2")[1], "another address got none")
        equal(proxy.metric("epif_proxy_sessions_refused_total"), 5, "in metrics")


@promise("the interactive phase: selection, the exchange of RFC 1929, a second reply that is the last, initial data kept for the target")
def dialogue():
    advertise = lambda initial: option(2, struct.pack(">H", initial) + b"\x02")
    with Server(echo) as server, Proxy("--allow-all", "--user", "ann:secret") as proxy:
        with proxy.connect() as client:
            client.sendall(v6_request(server.port, options=advertise(5) + OPEN) + b"hello")
            equal(authentication(client), (1, option(3, b"\x02")), "the first reply")
            equal(server.accepted, 0, "nothing goes upstream before the decision")
            for byte in v5_credentials("ann", "secret"):
                client.sendall(bytes([byte]))
            equal(read_exactly(client, 2), b"\x01\0", "RFC 1929")
            kind, told = authentication(client)
            equal((kind, set(options_of(told))), (0, {6}), "the second reply")
            equal(operation(client), 0, "the operation")
            equal(read_exactly(client, 5), b"hello", "the initial data")
        with proxy.connect() as client:
            client.sendall(v6_request(server.port, options=advertise(5)) + b"hello" + v5_credentials("ann", "secret") + b"more")
            authentication(client)
            read_exactly(client, 2)
            authentication(client)
            operation(client)
            equal(read_exactly(client, 9), b"hellomore", "all in one segment")
        with proxy.connect() as client:
            client.sendall(v6_request(server.port, options=advertise(0)))
            authentication(client)
            client.sendall(v5_credentials("ann", "wrong"))
            equal(read_exactly(client, 2), b"\x01\x01", "RFC 1929")
            equal(authentication(client), (1, b""), "the second reply has no selection: two are the most")
            equal(read_all(client), b"", "and the connection ends")
        with proxy.connect() as client:
            client.sendall(v6_request(server.port, options=advertise(0) + option(4, b"\x02" + v5_credentials("ann", "wrong"))) + b"x")
            equal(authentication(client), (1, option(3, b"\xff") + REFUSED), "wrong from the start: no second try")
            equal(read_all(client), b"", "and the connection ends")
        with proxy.connect() as client:
            client.sendall(v6_request(server.port, options=advertise(0) + LOGIN))
            equal(authentication(client), (0, ACCEPTED), "right from the start: the advertisement is ignored")
            equal(operation(client), 0, "the operation")
        wait_until(lambda: server.accepted >= 3, "the server's thread has counted")
        equal(server.accepted, 3, "connections that reached the server")


@promise("behind TLS a session, its tokens and BIND belong to the certificate that opened it")
def certificates():
    with Pair([], []) as pair:
        port = int(pair.next["proxy"].rsplit(":", 1)[1])
        pair.write_far({"id": "r", "peers": ["umc/proxy"], "destination": "127.0.0.1", "bind": True})
        pair.far.process.signal(signal.SIGHUP)
        wait_until(lambda: pair.far.metric("epif_proxy_routes") == 1, "the route is read")

        @contextlib.contextmanager
        def connected(name):
            _, certificate, _, key, _, authority = pair.identity(name)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.load_verify_locations(authority)
            context.load_cert_chain(certificate, key)
            with context.wrap_socket(socket.create_connection(("127.0.0.1", port), TIMEOUT)) as client:
                yield client

        def ask(name, options):
            with connected(name) as client:
                client.sendall(NOOP % struct.pack(">H", len(options)) + options)
                kind, told = authentication(client)
                return kind, options_of(told)
        kind, told = ask("umc/proxy", OPEN + option(11, b"\0\0\0\x08"))
        inside, base = session_id(told[6]), struct.unpack(">II", told[12])[0]
        equal(kind, 0, "opened")
        equal(ask("umc/other", inside), (1, {9: b""}), "another certificate, the same address")
        equal(set(ask("umc/proxy", inside + token(base))[1]), {8, 12, 14}, "the same certificate")
        with connected("umc/proxy") as client:
            client.sendall(v6_request(0, "0.0.0.0", inside, 2))
            equal(authentication(client)[0], 0, "BIND")
            head = read_exactly(client, 12)
            equal(head[1], 0, "the first reply")
            with socket.create_connection((socket.inet_ntoa(head[8:]), struct.unpack(">H", head[4:6])[0]), TIMEOUT) as peer:
                equal(operation(client), 0, "the second reply")
                peer.sendall(b"through TLS")
                equal(read_exactly(client, 11), b"through TLS", "the bytes")
        with connected("umc/other") as client:
            client.sendall(v6_request(0, "0.0.0.0", b"", 2))
            authentication(client)
            equal(operation(client), 2, "BIND without a route")


@promise("limits: 20480 bytes of options and 16384 of initial data are taken, a word or a byte more is not")
def limits():
    filler = lambda size: option(0xFCFF, bytes(size - 4))
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        for options, code in ((filler(20480), 0), (filler(20484), 1), (option(2, struct.pack(">H", 16384) + b"\0\0"), 0),
                              (option(2, struct.pack(">H", 16385) + b"\0\0"), 1)):
            with proxy.connect() as client:
                client.sendall(v6_request(server.port, options=options))
                data = bytes(16384)
                client.sendall(data)
                equal(authentication(client)[0], 0, f"{len(options)} bytes of options")
                equal(operation(client), code, f"{len(options)} bytes of options")
                if code == 0:
                    equal(read_exactly(client, len(data)), data, "the initial data")
        equal(server.accepted, 2, "connections that reached the server")


def waiting_at(proxy, count):
    """Connections that the process which serves now has accepted, and that have not asked yet."""
    made = [proxy.connect() for _ in range(count)]
    wait_until(lambda: proxy.metric('epif_proxy_held{limit="handshakes"}') == count, "they are accepted")
    return made


def ask(client, options):
    client.sendall(NOOP % struct.pack(">H", len(options)) + options)
    kind, told = authentication(client)
    return kind, options_of(told), operation(client) if kind == 0 else None


@promise("a SOCKS6 session goes on in the new process, with its window: what was spent stays spent, what was not is good once, and no id is in a log")
def sessions():
    with Server(echo) as server, Proxy("--allow-all", "--user", "ann:secret") as proxy, contextlib.ExitStack() as stack:
        _, told, _ = noop(proxy, OPEN + LOGIN + option(11, b"\0\0\0\x20"))
        id, base = told[6], struct.unpack(">II", told[12])[0]
        inside, plain = session_id(id), noop(proxy, OPEN + LOGIN)[1][6]
        for number in (base, base + 2):
            equal(noop(proxy, inside + token(number % 2**32))[0], 0, "a token in the first process")
        processes = [proxy.process]
        for name, good, window in (("second", base + 1, base + 3), ("third", base + 5, base + 3)):
            before = waiting_at(proxy, 1)[0]
            processes.append(successor(proxy, name=name))
            stack.callback(processes[-1].stop)
            for spent in (base, base + 2):
                equal(noop(proxy, inside + token(spent % 2**32)), (1, {15: b""}, None), f"a token that the first process has seen, in the {name}")
            with proxy.connect() as client:
                client.sendall(v6_request(server.port, options=inside + token(good % 2**32)) + b"ping")
                kind, block = authentication(client)
                equal((kind, options_of(block)), (0, {8: b"", 12: struct.pack(">II", window % 2**32, 32), 14: b""}), f"a token in the {name} process")
                equal((operation(client), read_exactly(client, 4)), (0, b"ping"), "its request")
            equal(noop(proxy, inside + token(good % 2**32))[0], 1, "the same a second time")
            equal(noop(proxy, inside, source="127.0.0.2"), (1, {9: b""}, None), "from another address")
            equal(noop(proxy, session_id(plain)), (0, {8: b""}, 0), "a session without tokens")
            equal(proxy.metric("epif_proxy_sessions"), 2, "sessions in metrics")
            before.close()
        equal(noop(proxy, inside + TEARDOWN + LOGIN)[0], 0, "a teardown by its owner")
        equal(noop(proxy, inside), (1, {9: b""}, None), "afterwards")
        for process in processes:
            check(id.hex() not in process.output() and plain.hex() not in process.output(), "an id is in the log")


@promise("a session whose user is none any more, or has another password, ends with the take-over; others go on")
def other_users():
    users = {"ann": "secret", "bob": "other", "eve": "third"}
    with Proxy("--allow-all", *(word for user in users.items() for word in ("--user", ":".join(user)))) as proxy, contextlib.ExitStack() as stack:
        ids = {name: noop(proxy, OPEN + option(4, b"\x02" + v5_credentials(name, password)))[1][6] for name, password in users.items()}
        stack.callback(successor(proxy, instead=["--allow-all", "--user", "ann:secret", "--user", "bob:changed"]).stop)
        told = {name: noop(proxy, session_id(id)) for name, id in ids.items()}
        equal(told, {"ann": (0, {8: b""}, 0), "bob": (1, {9: b""}, None), "eve": (1, {9: b""}, None)}, "their sessions")


@promise("while processes take over from each other, no request is out of its session, and of many with the same token exactly one reaches the server")
def storm():
    reached, told, guard, over = collections.Counter(), collections.Counter(), threading.Lock(), threading.Event()

    def serve(connection):
        word = read_exactly(connection, 4)
        with guard:
            reached[word] += 1
        connection.sendall(word)

    with Server(serve) as server, Proxy("--allow-all", "--threads", "2") as proxy, contextlib.ExitStack() as stack:
        _, opened, _ = noop(proxy, OPEN + option(11, struct.pack(">I", 4096)))
        inside, base = session_id(opened[6]), struct.unpack(">II", opened[12])[0]

        def once():
            number = (base + told["served"]) % 2**32
            with proxy.connect() as client:
                client.sendall(v6_request(server.port, options=inside + token(number)) + struct.pack(">I", number))
                kind, block = authentication(client)
                if kind != 0:
                    return "spent" if block == REJECTED else block.hex()
                equal((operation(client), read_exactly(client, 4)), (0, struct.pack(">I", number)), "a request whose token was good")
                return "served"

        def ask_on():
            while not over.is_set():
                try:
                    outcome = once()
                except ConnectionError:
                    outcome = "reset"
                with guard:
                    told[outcome] += 1
        clients = [threading.Thread(target=ask_on, daemon=True) for _ in range(8)]
        stack.callback(over.set)
        for client in clients:
            client.start()
        for number in range(10):
            count = told["served"]
            stack.callback(successor(proxy, name=f"new-{number}").stop)
            wait_until(lambda count=count: told["served"] > count + 20, "requests are served after a take-over")
        over.set()
        for client in clients:
            client.join(TIMEOUT)
        check(set(told) <= {"served", "spent", "reset"}, f"what clients were told: {dict(told)}")
        equal((len(reached), set(reached.values())), (told["served"], {1}), "requests that reached the server, and how often each did")


@promise("a connection to the old process that asks late: it is in its session, but a token is only good where the window is, so it is reset unanswered and good there; a teardown ends the session in both")
def late():
    with Server(echo) as server, Proxy("--allow-all") as proxy, contextlib.ExitStack() as stack:
        _, told, _ = noop(proxy, OPEN + option(11, b"\0\0\0\x20"))
        inside, base = session_id(told[6]), struct.unpack(">II", told[12])[0]
        other = session_id(noop(proxy, OPEN)[1][6])
        plain, spends, opens, tears, *rest = [stack.enter_context(one) for one in waiting_at(proxy, 30)]
        stack.callback(successor(proxy).stop)
        equal(ask(plain, inside), (0, {8: b""}, 0), "inside, without a token")
        spends.sendall(v6_request(server.port, options=inside + token(base)) + b"ping")
        check(is_reset(spends), "a token was answered where nobody knows whether it is spent")
        with proxy.connect() as client:
            client.sendall(v6_request(server.port, options=inside + token(base)) + b"ping")
            equal(authentication(client)[0], 0, "the same token at the new process")
            equal((operation(client), read_exactly(client, 4)), (0, b"ping"), "its request")
        equal(server.accepted, 1, "requests that reached the server")
        equal(ask(opens, OPEN), (0, {}, 0), "a session that the new process would not know")
        equal(ask(tears, inside + TEARDOWN)[0], 0, "a teardown at the old process")
        wait_until(lambda: noop(proxy, inside)[0] == 1, "the session has ended at the new one")
        equal(noop(proxy, other + TEARDOWN)[0], 0, "a teardown at the new process")
        wait_until(lambda: ask(rest.pop(), other)[0] == 1, "it has ended at the old one")
        equal(proxy.metric("epif_proxy_sessions"), 0, "sessions in metrics")


run(needs_root=False)
