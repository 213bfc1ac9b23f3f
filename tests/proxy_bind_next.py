#!/usr/bin/python3
"""BIND through two proxies: the far one listens, both of its replies reach the client.
client ── near ═mTLS SOCKS6═ far ── peer 127.0.0.1, strangers at 127.0.0.9; all on loopback."""
import contextlib
import socket
import struct
import threading

from lab import check, equal, promise, run, wait_until
from proxy_bind_messages import BIND, come_from, open_bind, read_v6_operation, refuses
from proxy_datagrams import stack
from proxy_tables import Pair, Table
from proxy_world import TIMEOUT, Proxy, is_reset, option, read_all, read_exactly, v5_code, v5_request, v6_request


def near(**fields):
    return {"id": "b", "sources": ["127.0.0.0/8"], "destination": "127.0.0.1", "name": "localhost", "bind": True, **fields}


def far(**fields):
    return {"id": "b", "peers": ["umc/proxy"], "destination": "127.0.0.1", "name": "localhost", "bind": True, **fields}


@promise("each protocol gets the far proxy's two replies, and bytes flow both ways with half-close, early ones included")
def two_replies():
    with Pair([near()], [far()]) as pair:
        for protocol in ("4", "4a", "5", "6"):
            client, bound, second = open_bind(pair.near, protocol)
            with client:
                equal(pair.far.metric("epif_proxy_binds_waiting"), 1, "ports that wait at the far proxy")
                client.sendall(b"from the client")
                with come_from("127.0.0.1", bound) as peer:
                    peer.settimeout(TIMEOUT)
                    peer.sendall(b"at once")
                    code, *who = second(client)
                    equal((code, tuple(who)), (0x5a if protocol[0] == "4" else 0, peer.getsockname()), f"SOCKS{protocol}, the second reply")
                    equal(read_exactly(client, 7), b"at once", f"SOCKS{protocol}, at the client")
                    client.shutdown(socket.SHUT_WR)
                    equal(read_all(peer), b"from the client", f"SOCKS{protocol}, at the peer")
                    peer.sendall(b"and back")
                    peer.shutdown(socket.SHUT_WR)
                    equal(read_all(client), b"and back", f"SOCKS{protocol}")
        for proxy in (pair.near, pair.far):
            equal(proxy.metric('epif_proxy_route_flows_total{route="b"}'), 4, "flows")
            wait_until(lambda at=proxy: at.metric('epif_proxy_held{limit="connections"}') <= 8, "places come back, but for warm connections")
            equal(proxy.metric("epif_proxy_binds_waiting"), 0, "ports that wait")


@promise("the far proxy lets in whom the client expects, though its own route lets in more")
def expected():
    wide = far(destination="127.0.0.0/8")
    with Pair([near(destination="127.0.0.0/8")], [wide]) as pair:
        for protocol in ("4", "5"):
            client, bound, second = open_bind(pair.near, protocol, "127.0.0.1")
            with client:
                with contextlib.suppress(ConnectionResetError), come_from("127.0.0.9", bound) as stranger:
                    stranger.settimeout(TIMEOUT)
                    check(is_reset(stranger), "a stranger was served")
                with come_from("127.0.0.1", bound) as peer:
                    equal(second(client)[1:], peer.getsockname(), f"SOCKS{protocol}, who came")
        equal(pair.far.metric("epif_proxy_bind_turned_away_total"), 2, "strangers at the far proxy")


@promise("each proxy decides by its own table, and the far one's refusal is the near one's answer")
def refusals():
    with Pair([near(destination="127.0.0.1")], [far(bind=False)]) as pair:
        equal(v5_code(pair.near, v5_request(0, "127.0.0.1", BIND)), 2, "the far route does not grant BIND")
        equal(v5_code(pair.near, v5_request(0, "127.0.0.9", BIND)), 2, "a host that the near route does not lead to")
        pair.write_far(far(destination="127.0.0.9"))
        wait_until(lambda: pair.far.metric("epif_proxy_reloads_total") > 1, "the far table is read")
        equal(v5_code(pair.near, v5_request(0, "127.0.0.1", BIND)), 2, "a host that the far route does not lead to")
    with Pair([near()], [far()]) as pair, Proxy("--allow-all") as other:
        client, bound, _ = open_bind(other, "6")
        with client, pair.near.connect() as second:
            second.sendall(v6_request(bound[1], "0.0.0.0", command=BIND))
            equal(read_exactly(second, 4)[1], 0, "the authentication reply")
            equal(read_v6_operation(second)[0], 1, "a taken port")


@promise("a client that leaves, a far proxy's deadline, and a withdrawn route each close the far port; the others learn it")
def ends():
    with Pair([near()], [far()], far_words=("--bind-deadline", "2")) as pair:
        client, bound, _ = open_bind(pair.near, "5")
        client.close()
        wait_until(lambda: refuses(bound), "the port is closed")
        for protocol, code in (("4", 0x5b), ("5", 4), ("6", 9)):
            client, bound, second = open_bind(pair.near, protocol)
            with client:
                equal(second(client)[0], code, f"SOCKS{protocol}, the second reply after the deadline")
                wait_until(lambda at=bound: refuses(at), f"SOCKS{protocol}: the port is closed")
    for side in ("near", "far"):
        with Pair([near()], [far()]) as pair:
            waiting, bound, _ = open_bind(pair.near, "5")
            client, open_at, second = open_bind(pair.near, "5")
            with waiting, client, come_from("127.0.0.1", open_at) as peer:
                second(client)
                peer.settimeout(TIMEOUT)
                (pair.write_near if side == "near" else pair.write_far)()
                check(is_reset(client), f"{side}: the open flow ended properly")
                check(is_reset(peer), f"{side}: the peer saw a proper end")
                wait_until(lambda at=bound: refuses(at), f"{side}: the waiting port is closed")
                if side == "near":
                    check(is_reset(waiting), f"{side}: the waiting client saw a proper end")
                else:
                    check(read_all(waiting)[:1] in (b"\5", b""), f"{side}: the waiting client heard something else than a refusal")


@promise("a next proxy that lets in somebody else is not believed: the flow is cut before a byte of either side passes")
def not_believed():
    with socket.create_server(("127.0.0.1", 0)) as liar:
        def serve():
            with liar.accept()[0] as connection:
                read_exactly(connection, 12)
                connection.sendall(b"\6\0\0\0" + b"\6\0\0\0" + struct.pack(">HBB", 4321, 0, 1) + socket.inet_aton("0.0.0.0") +
                                   b"\6\0\0\0" + struct.pack(">HBB", 5, 0, 1) + socket.inet_aton("127.0.0.9") + b"hello")
                seen.append(is_reset(connection))
        seen = []
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with Table() as table:
            path = table.write(near(destination="127.0.0.0/8", next={"proxy": "127.0.0.1:%d" % liar.getsockname()[1]}))
            with Proxy("--routes", path) as proxy:
                client, bound, _ = open_bind(proxy, "5", "127.0.0.1")
                with client:
                    equal(bound, ("127.0.0.1", 4321), "the address told for one that listens on all of its own")
                    equal(read_all(client)[:2], b"\5\2", "the second reply")
                    thread.join(TIMEOUT)
                    equal(seen, [True], "the liar's connection was reset")
                    equal(proxy.metric("epif_proxy_bind_turned_away_total"), 1, "strangers")


@promise("stack options of the peer's leg are the far proxy's answer, those of the client's leg ours, and no backlog is granted")
def stack_options():
    wishes = stack(1, 1, 1, 0x28) + stack(2, 1, 1, 0x20) + stack(2, 1, 3, 33) + stack(2, 4, 3, 0, 5)
    with Pair([near()], [far()]) as pair, pair.near.connect() as client:
        client.sendall(v6_request(0, "0.0.0.0", option(5, b"") + wishes, BIND))
        length = struct.unpack(">xxH", read_exactly(client, 4))[0]
        read_exactly(client, length)
        code, address, port, first = read_v6_operation(client)
        wanted = {stack(1, 1, 1, 0x28), stack(2, 1, 1, 0x20), stack(2, 1, 3, 33), stack(2, 4, 3, 0)}
        equal((code, {first[i:i + 8] for i in range(0, len(first), 8)}), (0, wanted), "the first reply")
        with come_from("127.0.0.1", (address, port)):
            second = read_v6_operation(client)[3]
            equal({second[i:i + 8] for i in range(0, len(second), 8)}, wanted, "the second reply")


run(needs_root=False)
