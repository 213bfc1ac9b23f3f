#!/usr/bin/python3
"""BIND in SOCKS4, 4a, 5 and 6: the proxy listens for its client, and lets in whom the client expects. All on loopback:
client ── proxy ── peer 127.0.0.1, strangers at 127.0.0.9."""
import contextlib
import os
import socket
import struct
import subprocess

from lab import check, equal, promise, run, wait_until, write_json
from proxy_bind_messages import BIND, come_from, open_bind, read_v6, read_v6_operation, refuses
from proxy_world import TIMEOUT, Proxy, is_reset, option, read_all, read_exactly, v5_code, v5_request, v6_reply, v6_request


@promise("each protocol gets two replies, where the proxy listens and who came, and bytes flow both ways with half-close")
def two_replies():
    with Proxy("--allow-all") as proxy:
        for protocol in ("4", "4a", "5", "6"):
            client, bound, second = open_bind(proxy, protocol)
            with client, come_from("127.0.0.1", bound) as peer:
                peer.settimeout(TIMEOUT)
                code, *who = second(client)
                equal((code, tuple(who)), (0x5a if protocol[0] == "4" else 0, peer.getsockname()), f"SOCKS{protocol}, the second reply")
                client.sendall(b"from the client")
                client.shutdown(socket.SHUT_WR)
                equal(read_all(peer), b"from the client", f"SOCKS{protocol}")
                peer.sendall(b"and back")
                peer.shutdown(socket.SHUT_WR)
                equal(read_all(client), b"and back", f"SOCKS{protocol}")
        wait_until(lambda: proxy.metric("epif_proxy_held{limit=\"connections\"}") == 0, "all places come back")
        equal(proxy.metric("epif_proxy_binds_total"), 4, "ports opened")
        equal(proxy.metric("epif_proxy_binds_waiting"), 0, "ports that wait")


@promise("whoever is not expected is reset, and the expected host still gets through")
def strangers():
    with Proxy("--allow-all") as proxy:
        for protocol in ("4", "5"):
            client, bound, second = open_bind(proxy, protocol)
            with client:
                for _ in range(3):
                    with contextlib.suppress(ConnectionResetError), come_from("127.0.0.9", bound) as stranger:
                        stranger.settimeout(TIMEOUT)
                        check(is_reset(stranger), "a stranger was served")
                with come_from("127.0.0.1", bound) as peer:
                    equal(second(client)[1:], peer.getsockname(), "who came")
        equal(proxy.metric("epif_proxy_bind_turned_away_total"), 6, "strangers in metrics")


@promise("an unspecified peer means anyone, over IPv4 and IPv6 alike")
def anyone_and_both_families():
    with Proxy("--allow-all") as proxy:
        for protocol in ("5", "6"):
            for host, source in (("127.0.0.1", "127.0.0.9"), ("::1", "::1")):
                client, (_, port), second = open_bind(proxy, protocol, "0.0.0.0")
                with client, socket.create_connection((host, port), TIMEOUT, source_address=(source, 0)) as peer:
                    equal(second(client)[1:], peer.getsockname()[:2], f"SOCKS{protocol} from {source}")


@promise("what the client sends before its peer is there reaches the peer, and the peer's bytes with its connect reach the client")
def early_bytes():
    with Proxy("--allow-all") as proxy:
        client, bound, second = open_bind(proxy, "5")
        with client:
            client.sendall(b"early")
            with come_from("127.0.0.1", bound) as peer:
                peer.sendall(b"hello")
                second(client)
                equal(read_exactly(client, 5), b"hello", "at the client")
                peer.settimeout(TIMEOUT)
                equal(read_exactly(peer, 5), b"early", "at the peer")


@promise("a client that leaves takes its port along, and a taken port or a foreign address is refused at once")
def ports_come_back():
    with Proxy("--allow-all") as proxy:
        client, bound, _ = open_bind(proxy, "5")
        client.close()
        wait_until(lambda: refuses(bound), "the port is closed")
        client, bound, _ = open_bind(proxy, "6")
        with client, proxy.connect() as other, proxy.connect() as foreign:
            other.sendall(v6_request(bound[1], "0.0.0.0", command=BIND))
            equal(v6_reply(other)[2], 1, "a taken port")
            foreign.sendall(v6_request(0, "192.0.2.1", command=BIND))
            check(v6_reply(foreign)[2] != 0, "an address that is not ours was bound")
        wait_until(lambda: refuses(bound), "the port is closed")


def route(**fields):
    return {"id": "r", "sources": ["127.0.0.1/32"], "destination": "127.0.0.1", **fields}


@promise("a peer that does not come in time ends the wait: the second reply says so, and the port is closed")
def deadline():
    with Proxy("--allow-all", "--bind-deadline", "1") as proxy:
        for protocol, code in (("4", 0x5b), ("5", 4), ("6", 9)):
            client, bound, second = open_bind(proxy, protocol)
            with client:
                equal(second(client)[0], code, f"SOCKS{protocol}, the second reply")
                equal(read_all(client), b"", f"SOCKS{protocol}, what follows")
                wait_until(lambda: refuses(bound), f"SOCKS{protocol}: the port is closed")


@promise("BIND is denied by default: a route that does not grant it, another host, another source, a low port")
def default_deny():
    with routed(route()) as proxy:
        equal(v5_code(proxy, v5_request(0, "127.0.0.1", BIND)), 2, "a route without bind")
    with routed(route(bind=True)) as proxy:
        equal(v5_code(proxy, v5_request(0, "127.0.0.9", BIND)), 2, "a host that the route does not lead to")
        with proxy.connect() as client:
            client.sendall(v6_request(80, "0.0.0.0", command=BIND))
            equal(v6_reply(client)[2], 2, "a port below 1024")
    with routed(route(bind=True, sources=["127.0.0.5/32"])) as proxy:
        equal(v5_code(proxy, v5_request(0, "127.0.0.1", BIND)), 2, "somebody else's route")


@contextlib.contextmanager
def routed(*routes):
    import tempfile
    with tempfile.TemporaryDirectory(prefix="epif-bind-") as folder:
        path = os.path.join(folder, "routes.json")
        write_json(path, {"routes": list(routes)})
        with Proxy("--routes", path) as proxy:
            proxy.routes_path = path
            yield proxy


@promise("a route with bind lets in hosts of its destination only, whoever the client says that it expects, and a withdrawn one cuts")
def by_route():
    with routed(route(bind=True)) as proxy:
        for protocol in ("4", "5", "6"):
            client, bound, second = open_bind(proxy, protocol, "127.0.0.1")
            with client:
                with contextlib.suppress(ConnectionResetError), come_from("127.0.0.9", bound) as stranger:
                    stranger.settimeout(TIMEOUT)
                    check(is_reset(stranger), f"SOCKS{protocol}: a stranger was served")
                with come_from("127.0.0.1", bound) as peer:
                    equal(second(client)[1:], peer.getsockname(), f"SOCKS{protocol}")
        waiting, bound, _ = open_bind(proxy, "5")
        client, open_at, second = open_bind(proxy, "5")
        with waiting, client, come_from("127.0.0.1", open_at) as peer:
            second(client)
            peer.settimeout(TIMEOUT)
            write_json(proxy.routes_path, {"routes": []})
            check(is_reset(client), "the open flow ended properly")
            check(is_reset(peer), "the peer saw a proper end")
            check(is_reset(waiting), "the waiting port's client saw a proper end")
            wait_until(lambda: refuses(bound), "the waiting port is closed")


@promise("within a session a backlog keeps the port: each further BIND of the session takes one connection, until the first connection ends")
def backlog():
    def told(options):
        return {options[i + 4:i + 6]: options[i + 6:i + 8] for i in range(0, len(options), 8)}
    wish = option(1, b"\x84\x03\0\x05")
    with Proxy("--allow-all") as proxy, proxy.connect() as handle, proxy.connect() as outside:
        outside.sendall(v6_request(0, "0.0.0.0", wish, BIND))
        equal(told(v6_reply(outside)[3]), {b"\x84\x03": b"\0\0"}, "outside of a session: no backlog")
        handle.sendall(v6_request(0, "0.0.0.0", option(5, b"") + wish, BIND))
        kind, length = struct.unpack(">xBH", read_exactly(handle, 4))
        session = read_exactly(handle, length)[4:]
        code, address, port, options = read_v6_operation(handle)
        equal((kind, code, told(options)), (0, 0, {b"\x84\x03": b"\0\x05"}), "the backlog granted")
        early = [come_from("127.0.0.1", (address, port)) for _ in range(3)]
        names = {peer.getsockname() for peer in early}
        seen = set()
        for _ in range(3):
            client = proxy.connect()
            client.sendall(v6_request(port, address, option(6, session), BIND) + b"hi")
            equal(read_v6(client), (0, address, port), "the first reply")
            code, *who, _ = read_v6_operation(client)
            seen.add(tuple(who))
            peer = next(one for one in early if one.getsockname() == tuple(who))
            peer.settimeout(TIMEOUT)
            equal(read_exactly(peer, 2), b"hi", "at the peer")
            client.close()
        equal(seen, names, "each connection once")
        with proxy.connect() as stranger:
            stranger.sendall(v6_request(port, address, b"", BIND))
            check(v6_reply(stranger)[2] != 0, "the port was shared outside of the session")
        with proxy.connect() as late:
            late.sendall(v6_request(port, address, option(6, session), BIND))
            read_v6(late)
            handle.close()
            check(read_v6_operation(late)[0] != 0, "a BIND outlived its port")
        wait_until(lambda: refuses((address, port)), "the port is closed")
        for peer in early:
            peer.close()


@promise("stack options of BIND are answered from the listening and from the accepted socket")
def stack_options():
    wishes = [b"\x81\x01\x20\0", b"\x81\x03\x21\0", b"\x81\x04\x02\0", b"\x84\x01\0\0", b"\x84\x02\x02\0", b"\x81\x02\x02\0"]
    with Proxy("--allow-all") as proxy, proxy.connect() as client:
        client.sendall(v6_request(0, "127.0.0.1", b"".join(option(1, one) for one in wishes), BIND))
        kind, length = struct.unpack(">xBH", read_exactly(client, 4))
        read_exactly(client, length)
        _, address, port, first = read_v6_operation(client)
        equal(kind, 0, "the authentication reply")
        told = {first[i + 4:i + 6]: first[i + 6:i + 8] for i in range(0, len(first), 8)}
        with open("/proc/sys/net/ipv4/tcp_fastopen", encoding="ascii") as file:
            fast_open = wishes[3:4] if int(file.read()) & 2 else []
        # The kernel's MPTCP has no TTL: it gives way. Happy Eyeballs is for names alone.
        equal(told, {**{one[:2]: one[2:] for one in wishes[:3] + fast_open}, b"\x84\x02": b"\x01\0"}, "the first reply")
        with come_from("127.0.0.1", (address, port)):
            second = read_v6_operation(client)[3]
            told = {second[i + 4:i + 6]: second[i + 6:i + 8] for i in range(0, len(second), 8)}
            equal(told, {**{one[:2]: one[2:] for one in wishes[:3]}, b"\x84\x02": b"\x01\0"}, "the second reply")


@promise("a port that is to take MPTCP says so, and so does the connection that came by it")
def multipath():
    with Proxy("--allow-all") as proxy:
        for protocol, spoken in ((262, b"\x02\0"), (0, b"\x01\0")):
            with proxy.connect() as client:
                client.sendall(v6_request(0, "127.0.0.1", option(1, b"\x84\x02\x02\0"), BIND))
                read_exactly(client, 4)
                _, address, port, first = read_v6_operation(client)
                equal(first[4:], b"\x84\x02\x02\0", "the first reply")
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as peer:
                    peer.connect((address, port))
                    equal(read_v6_operation(client)[3][4:], b"\x84\x02" + spoken, f"the second reply, protocol {protocol}")


@promise("Perl's IO::Socket::Socks gets its connection by BIND")
def with_perl():
    # SOCKS5 only: version 0.74 of the module reads the second reply of SOCKS4 as one of SOCKS5.
    script = r"""
use IO::Socket::Socks;
my ($version, $port) = @ARGV;
my $s = IO::Socket::Socks->new(ProxyAddr => "127.0.0.1", ProxyPort => $port, SocksVersion => $version, Timeout => 10,
                               BindAddr => "127.0.0.1", BindPort => 21) or die "refused: $SOCKS_ERROR";
my ($host, $at) = $s->dst;
$| = 1;
print "$host $at\n";
$s->accept or die "nobody came: $SOCKS_ERROR";
print scalar <$s>;
print $s "pong\n";
"""
    with Proxy("--allow-all") as proxy:
        for version in ("5",):
            perl = subprocess.Popen(["perl", "-e", script, version, str(proxy.port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            with perl:
                host, port = perl.stdout.readline().split()
                with come_from("127.0.0.1", (host.decode(), int(port))) as peer:
                    peer.settimeout(TIMEOUT)
                    peer.sendall(b"ping\n")
                    equal(perl.stdout.readline(), b"ping\n", f"SOCKS{version}, at the client")
                    equal(read_exactly(peer, 5), b"pong\n", f"SOCKS{version}, at the peer")


run(needs_root=False)
