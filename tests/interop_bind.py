#!/usr/bin/python3
"""BIND by clients of other makes: active FTP through socksify, IO::Socket::Socks, node-socks."""
import concurrent.futures
import contextlib
import os

from interop_table import PROGRAMS, Target, library, socksify_settings
from interop_world import LOGIN, Talk, World, digest, payload, read
from lab import check, equal, promise, run

FTP = 2121
NODE = {"NODE_PATH": "/usr/share/nodejs"}
BINDERS = {  # IO::Socket::Socks 0.74 reads the second reply of SOCKS4 as one of SOCKS5, so it has no such row
    "IO::Socket::Socks": (library("perl", PROGRAMS / "bind_perl.pl"), {}, ("socks5",)),
    "node-socks": (library("node", PROGRAMS / "bind_node.js"), NODE, ("socks4", "socks5")),
}


def bound(talk, what):
    """(address, port) that the client was told, its first line."""
    line = b""
    while not line.endswith(b"\n") and (more := talk.read(1)):
        line += more
    check(line.count(b" ") == 1, lambda: f"{what}: not bound: {talk.finish()[2].strip()}")
    address, port = line.split()
    return line, address.decode(), int(port)


def exchange(world, name, scheme, family, login):
    """The peer that was announced connects; a megabyte goes each way, the client ends first."""
    words, env, _ = BINDERS[name]
    what = f"{name} {scheme} IPv{family} {' '.join(login)}"
    there, back = payload(what + "there"), payload(what + "back")
    target = Target("10.1.0.1", 1081 if login else 1080, world.address[family], 0, login)
    with Talk(world.client, words(world, scheme, target), env) as talk:
        line, address, port = bound(talk, what)
        equal(address, {4: "10.2.0.1", 6: "fd02::1"}[family], f"{what}: the address that the peer can reach")
        with world.server.connect(address, port) as peer, concurrent.futures.ThreadPoolExecutor(1) as pool:
            finished = pool.submit(talk.finish, there)
            equal(digest(read(peer, len(there))), digest(there), f"{what}: what the peer received")
            equal(peer.recv(1), b"", f"{what}: the client's end")
            peer.sendall(back)
            peer.close()
            code, out, err = finished.result()
        equal((code, digest(out[len(line):])), (0, digest(back)), f"{what}: exit code and what the client received ({err.strip()})")


def stranger(world, name, scheme):
    """Who was not announced is not let in, and does not take the place of who was."""
    words, env, _ = BINDERS[name]
    what = f"{name} {scheme}"
    with Talk(world.client, words(world, scheme, Target("10.1.0.1", 1080, world.address[4], 0)), env) as talk:
        line, address, port = bound(talk, what)
        with contextlib.suppress(ConnectionError), world.gate.connect(address, port) as other:
            other.sendall(b"let me in")
            equal(other.recv(100), b"", f"{what}: what a stranger is told")
        with world.server.connect(address, port) as peer:
            peer.sendall(b"here I am")
        code, out, err = talk.finish()
        equal((code, out), (0, line + b"here I am"), f"{what}: exit code and what the client received ({err.strip()})")


@promise("IO::Socket::Socks and node-socks take a connection by BIND, 1 MB each way, with and without a password")
def by_libraries():
    with World("bind") as world:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(exchange, world, name, scheme, family, login)
                    for name, (_, _, schemes) in BINDERS.items() for scheme in schemes
                    for family, login in (((4, ()), (6, ()), (4, LOGIN)) if scheme == "socks5" else ((4, ()),))]
            for job in jobs:
                job.result()
        world.nothing_left()


@promise("a BIND lets nobody in but the peer that was announced")
def nobody_else():
    with World("stranger") as world:
        for name, scheme in (("IO::Socket::Socks", "socks5"), ("node-socks", "socks4")):
            stranger(world, name, scheme)
        world.nothing_left()


@promise("tnftp under socksify fetches and stores 1 MB by active FTP, in SOCKS4 and SOCKS5, with and without a password")
def active_ftp():
    with World("ftp") as world:
        page = payload("ftp")
        kept = world.lab.path("ftp", "page")
        with open(kept, "wb") as file:
            file.write(page)
        served = os.path.dirname(kept)
        server = world.server.start("/usr/bin/python3", "-m", "pyftpdlib", "-p", FTP, "-w", "-d", served)
        world.server.wait_for_port(FTP, process=server)
        for scheme, login in (("socks4", ()), ("socks5", ()), ("socks5", LOGIN)):
            what = f"tnftp {scheme} {' '.join(login)}"
            got = world.lab.path(f"got-{scheme}-{len(login)}")
            under = socksify_settings(world, scheme, Target("10.1.0.1", 1081 if login else 1080, "", 0, login))
            for step in (["-o", got, f"ftp://{world.address[4]}:{FTP}/page"],
                         ["-u", f"ftp://{world.address[4]}:{FTP}/{os.path.basename(got)}", got]):
                with Talk(world.client, [*under, "tnftp", "-A", *step]) as talk:
                    code, out, err = talk.finish()
                    equal(code, 0, f"{what} {step[0]} ({err.strip()[-800:]} {out.decode().strip()})")
            for path in (got, os.path.join(served, os.path.basename(got))):
                with open(path, "rb") as file:
                    equal(digest(file.read()), digest(page), f"{what}: hash of {os.path.basename(os.path.dirname(path))}")
        world.nothing_left()
        check("STOR" in server.output() and "RETR" in server.output(), server.output)


run()
