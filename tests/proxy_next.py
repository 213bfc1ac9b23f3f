#!/usr/bin/python3
"""Two proxies in a row, TLS 1.3 with certificates between. client ── near ═mTLS SOCKS6═ far ── server, on loopback."""
import os
import shutil
import signal
import socket
import ssl
import subprocess

from lab import check, equal, promise, run, wait_until
from proxy_tables import Pair, openssl
from proxy_world import (Proxy, Server, digest, echo, free_port, is_reset, open_v5, read_all, read_exactly, v4a_request, v5_code,
                         v5_name_request, v5_request, v6_name_request)


def near(id, port):
    return {"id": id, "sources": ["127.0.0.0/8"], "destination": f"127.0.0.1:{port}"}


def far(id, port, peer="umc/proxy"):
    return {"id": id, "peers": [peer], "destination": f"127.0.0.1:{port}"}


@promise("bytes pass both proxies unchanged, with half-close, and warm connections are used")
def passes():
    data = os.urandom(8 * 1024 * 1024)
    with Server(lambda c: (c.settimeout(60), c.sendall(digest(read_all(c)).encode()))) as server:
        with Pair([near("a/b", server.port)], [far("a/b", server.port)]) as pair:
            for _ in range(6):
                with open_v5(pair.near, server.port) as client:
                    client.settimeout(60)
                    client.sendall(data)
                    client.shutdown(1)
                    equal(read_all(client).decode(), digest(data), "the hash that the server saw")
            check(pair.near.metric("epif_proxy_warm_hits_total") > 0, "every connection was made on demand")
            equal(pair.far.metric('epif_proxy_route_flows_total{route="a/b"}'), 6, "flows at the far proxy")


@promise("the far proxy's refusal is the near one's answer, and it believes certificates and its own table only")
def refusals():
    closed = free_port()
    with Server(echo) as server, Server(echo) as foreign, Server(echo) as unknown:
        near_routes = [near("closed", closed), near("foreign", foreign.port), near("unknown", unknown.port), near("ok", server.port)]
        far_routes = [far("closed", closed), far("foreign", foreign.port, peer="vendor/proxy"), far("ok", server.port)]
        with Pair(near_routes, far_routes) as pair:
            equal(v5_code(pair.near, v5_request(closed)), 5, "refused by the server")
            equal(v5_code(pair.near, v5_request(foreign.port)), 2, "a route of another peer")
            equal(v5_code(pair.near, v5_request(unknown.port)), 2, "a flow that the far proxy does not know")
            equal(v5_code(pair.near, v5_request(server.port)), 0, "the good one")
            equal((foreign.accepted, unknown.accepted), (0, 0), "connections that must not be")


@promise("a name that the near proxy cannot resolve, or knows by another address, is asked of the far one as a name")
def by_name():
    name = "server.far.example"
    with Server(echo) as server:
        with Pair([{**near("n", server.port), "destination": f"10.200.0.9:{server.port}", "name": name}],
                  [{**far("n", server.port), "name": name}]) as pair:
            for request, answer in ((v4a_request(server.port, name), 8), (b"\5\1\0" + v5_name_request(server.port, name), 12),
                                    (v6_name_request(server.port, name), 16)):
                with pair.near.connect() as client:
                    client.sendall(request + b"ping")
                    read_exactly(client, answer)
                    equal(read_exactly(client, 4), b"ping", f"the echo, SOCKS{request[0]}")


@promise("a far proxy with another identity than the route's is not spoken to")
def wrong_identity():
    with Server(echo) as server:
        with Pair([near("a", server.port)], [far("a", server.port)], expected="research/other") as pair:
            check(v5_code(pair.near, v5_request(server.port)) != 0, "it was accepted")
            equal(server.accepted, 0, "connections that reached the server")


@promise("a client without a certificate gets nothing from the TLS listener")
def no_certificate():
    with Server(echo) as server, Pair([near("a", server.port)], [far("a", server.port)]) as pair:
        done = subprocess.run(["openssl", "s_client", "-connect", pair.next["proxy"], "-quiet", "-tls1_3"],
                              input=b"\x05\x01\0" + v5_request(server.port), capture_output=True, timeout=20)
        equal(done.stdout, b"", "what came back")
        equal(server.accepted, 0, "connections that reached the server")


def served_serial(pair):
    """The serial number of the certificate that the far proxy shows now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(pair.at("ca.pem"))
    context.load_cert_chain(pair.at("umc-proxy.pem"), pair.at("umc-proxy.key"))
    host, port = pair.next["proxy"].split(":")
    with socket.create_connection((host, int(port)), 10) as plain, context.wrap_socket(plain) as secured:
        return secured.getpeercert()["serialNumber"]


@promise("a renewed certificate is taken from its files by the running proxies, and the running flow goes on")
def renewal():
    with Server(echo) as server, Pair([near("a", server.port)], [far("a", server.port)]) as pair:
        with open_v5(pair.near, server.port) as client:
            before = served_serial(pair)
            pair.identity("research/proxy")
            wait_until(lambda: served_serial(pair) != before, "the far proxy shows its new certificate")
            # The near one's own leg: the far one's route does not name what the new certificate says.
            pair.identity("umc/proxy", named="umc/proxy2")
            pair.near.process.wait_for_log("certificate read")
            client.sendall(b"ping")
            equal(read_exactly(client, 4), b"ping", "the running flow")
            wait_until(lambda: v5_code(pair.near, v5_request(server.port)) == 2, "the near proxy shows its new certificate")
            pair.identity("umc/proxy")
            wait_until(lambda: v5_code(pair.near, v5_request(server.port)) == 0, "the old name is back")


@promise("a certificate that does not fit its key is refused with the reason and the one before stays; SIGHUP reads again")
def bad_renewal():
    with Server(echo) as server, Pair([near("a", server.port)], [far("a", server.port)]) as pair:
        before = served_serial(pair)
        key, good = pair.at("research-proxy.key"), pair.at("good.key")
        shutil.copy(key, good)
        openssl("genpkey", "-algorithm", "ed25519", "-out", pair.at("other.key"))
        os.replace(pair.at("other.key"), key)
        pair.far.process.wait_for_log("the certificate before stays in use")
        check(key in pair.far.process.output(), "the log does not name the file")
        equal(served_serial(pair), before, "the certificate served")
        equal(v5_code(pair.near, v5_request(server.port)), 0, "a new flow")
        os.replace(good, key)
        pair.far.process.wait_for_log("certificate read")
        read = pair.far.process.output().count("certificate read")
        pair.far.process.signal(signal.SIGHUP)
        wait_until(lambda: pair.far.process.output().count("certificate read") > read, "SIGHUP reads the files again")
        equal(v5_code(pair.near, v5_request(server.port)), 0, "a new flow after that")


@promise("a route withdrawn at the far proxy is an error at both ends, through TLS")
def cut_at_far():
    seen = []
    with Server(lambda c: seen.append(is_reset(c))) as server:
        with Pair([near("a", server.port)], [far("a", server.port)]) as pair, open_v5(pair.near, server.port) as client:
            client.sendall(b"half")
            pair.write_far()
            check(is_reset(client), "the client saw a clean end")
            wait_until(lambda: seen, "the server sees the end")
            check(seen[0], "the server saw a clean end")


run(needs_root=False)
