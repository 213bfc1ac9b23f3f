#!/usr/bin/python3
"""Clients of other makes against epif proxy: every row of interop_table.py, every case of the row."""
import concurrent.futures
import re
import socket
import time

from interop_table import CLIENTS, Target, table
from interop_world import (CLOSED, CLOSE_WAIT, ECHO, FIRST, GO, GREETING, HTTP, LATE, LOGIN, UNTOUCHED, WORDS, Talk, World, digest, payload)
from lab import Failure, check, equal, promise, repository, run, wait_until

AT_ONCE = 6
SECRET_WORDS = b"nobody shall read this"
OPEN, LOCKED = 1080, 1081


def carries(world, client, scheme, target):
    """A megabyte there and back, by hash, both ways."""
    data = payload(f"{scheme} {target}")
    words = world.named(world.client, *client.words(world, scheme, target))
    with Talk(world.client, words, client.env) as talk:
        code, out, err = talk.finish(data)
        check(digest(out) == digest(data), f"{len(out)} bytes came back, others than were sent; it ended with {code}: {err.strip()}")
        equal(code, 0, f"exit code ({err.strip()})")
        wait_until(lambda: digest(data) in world.services.heard, "the server received what was sent")


def says_words(talk, client_is):
    got = talk.read(len(WORDS))
    check(got == WORDS, lambda: f"{got!r} came {client_is}, wanted {WORDS!r}: {talk.finish()}")


def server_ends_first(world, client, scheme, target):
    data = payload(f"{scheme} {target}")
    with Talk(world.client, world.named(world.client, *client.words(world, scheme, target)), client.env) as talk:
        talk.write(GO)
        says_words(talk, "before the server's end")
        wait_until(lambda: talk.has_socket_in(CLOSE_WAIT), "the server's end reaches the client")
        code, out, err = talk.finish(data)
        equal((code, out), (0, WORDS), f"exit code and output ({err.strip()})")
        wait_until(lambda: digest(data) in world.services.heard, "the server received what was sent after its end")


def server_speaks_first(world, client, scheme, target):
    data = payload(f"{scheme} {target}")
    with Talk(world.client, world.named(world.client, *client.words(world, scheme, target)), client.env) as talk:
        says_words(talk, "while the client was silent")
        code, out, err = talk.finish(data)
        check(code == 0 and out == WORDS + data, f"{len(out)} bytes came in all; it ended with {code}: {err.strip()}")


def fails(world, client, scheme, target, case):
    """With an error of the client that says why; nothing of what it wanted to send reaches the server."""
    wanted = (client.says4 if "socks4" in scheme.split()[-1] else client.says5)[case]
    with Talk(world.client, world.named(world.client, *client.words(world, scheme, target)), client.env) as talk:
        code, out, err = talk.finish(SECRET_WORDS)
        check(code != 0 and not out, f"it ended with {code} and printed {out[:80]!r}: {err.strip()}")
        check(re.search(wanted, err), f"it should say {wanted!r}, and says {err.strip()!r}")


def keep(world, client, scheme, case):
    """One case of one row. The client's own names are near4 and near6, those of the proxy far4 and far6."""
    where = "far" if scheme[-1] in "ah" else "near"
    via = ("10.1.0.1", OPEN)
    port = client.echo_port
    if case in ("IPv4", "IPv6"):
        carries(world, client, scheme, Target(*via, world.address[int(case[-1])], port))
    elif case in ("name to IPv4", "name to IPv6"):
        carries(world, client, scheme, Target(*via, where + case[-1], port))
    elif case == "proxy over IPv6":
        carries(world, client, scheme, Target("fd01::1", OPEN, world.address[4], port))
    elif case == "password":
        carries(world, client, scheme, Target("10.1.0.1", LOCKED, world.address[4], port, LOGIN))
    elif case == "client ends first":
        carries(world, client, scheme, Target(*via, world.address[4], LATE))
    elif case == "server ends first":
        server_ends_first(world, client, scheme, Target(*via, world.address[4], FIRST))
    elif case == "server speaks first":
        server_speaks_first(world, client, scheme, Target(*via, world.address[4], GREETING))
    else:
        fails(world, client, scheme, {
            "refused": Target(*via, world.address[4], CLOSED),
            "host unreachable": Target(*via, "10.9.0.1", ECHO),
            "network unreachable": Target(*via, "10.8.0.1", ECHO),
            "name unknown": Target(*via, "nobody.invalid", ECHO),
            "password wrong": Target("10.1.0.1", LOCKED, world.address[4], UNTOUCHED, (LOGIN[0], "wrong")),
            "password missing": Target("10.1.0.1", LOCKED, world.address[4], UNTOUCHED),
        }[case], case)


def keep_all(name):
    """All rows of a client, several cases at a time; a case that fails is named with its client and scheme."""
    client, broken = CLIENTS[name], []

    def one(world, scheme, case):
        started = time.monotonic()
        try:
            keep(world, client, scheme, case)
        except (Failure, OSError) as failure:
            broken.append(f"{name} {scheme}: {case}: {failure}")
        return time.monotonic() - started

    with World(re.sub(r"\W+", "-", name)) as world:
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            jobs = [pool.submit(one, world, scheme, case) for scheme, cases in client.rows.items() for case in cases]
            for job in jobs:
                job.result()
        check(not broken, lambda: f"{len(broken)} of {len(jobs)} cases:\n" + "\n".join(broken))
        world.nothing_left()
        equal(world.services.touched, [], "who connected to the server without the right password")
        check(digest(SECRET_WORDS) not in world.services.heard, "the server received what a refused client wanted to send")
        print(f"      {name}: {len(jobs)} cases of {len(client.rows)} schemes", flush=True)


@promise("docs/interop.md shows the table that is tested here")
def shown():
    check(table() in (repository / "docs/interop.md").read_text(), lambda: "its table of clients should be\n" + table())


@promise("curl: every SOCKS scheme, with and without a password")
def with_curl():
    keep_all("curl")


@promise("curl that takes it for an HTTP proxy, in clear or over TLS, ends at once with an error, and nothing reaches the server")
def with_curl_over_http():
    with World("curl-http") as world:
        for scheme in ("http", "https"):  # curl's other two schemes: ours is no HTTP proxy
            for words in ([f"http://{world.address[4]}:{HTTP}/"], ["--proxytunnel", f"http://{world.address[4]}:{HTTP}/"]):
                began = time.monotonic()
                with Talk(world.client, ["curl", "-sS", "--fail", "-x", f"{scheme}://10.1.0.1:{OPEN}", *words]) as talk:
                    code, out, err = talk.finish(b"")
                check(code != 0 and len(out) <= 1, f"{scheme}: it ended with {code} and printed {out[:80]!r}: {err.strip()}")
                check(time.monotonic() - began < 5, f"{scheme}: it took {time.monotonic() - began:.1f} s")
        equal(world.services.peers, [], "who connected to the server")
        world.nothing_left()


@promise("ncat --proxy-type socks4 and socks5, with and without --proxy-auth")
def with_ncat():
    keep_all("ncat")


@promise("netcat-openbsd -X 4 and -X 5")
def with_netcat_openbsd():
    keep_all("netcat-openbsd")


@promise("connect-proxy -4 and -5, resolving there and here")
def with_connect_proxy():
    keep_all("connect-proxy")


@promise("proxychains4, and its strict chains over two proxies")
def with_proxychains():
    keep_all("proxychains4")


@promise("socksify of Dante: CONNECT")
def with_socksify():
    keep_all("socksify")


@promise("PySocks")
def with_pysocks():
    keep_all("PySocks")


@promise("python-socks, blocking and asyncio, both versions of each")
def with_python_socks():
    keep_all("python-socks")


@promise("IO::Socket::Socks of Perl")
def with_perl():
    keep_all("IO::Socket::Socks")


@promise("node-socks")
def with_node():
    keep_all("node-socks")


run()
