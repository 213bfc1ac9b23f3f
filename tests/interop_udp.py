#!/usr/bin/python3
"""UDP ASSOCIATE by clients of other makes: PySocks, IO::Socket::Socks, node-socks, and a program under socksify."""
import concurrent.futures

from interop_daemons import REDSOCKS, redsocks_udp
from interop_table import PROGRAMS, Target, library, socksify_settings
from interop_world import ECHO, LOGIN, Talk, World, digest, payload
from lab import Failure, check, equal, promise, run

SIZE = 200_000  # 86 datagrams of 1 to 8000 bytes, each after the answer to the one before
NODE = {"NODE_PATH": "/usr/share/nodejs"}


def plain(world, scheme, to):
    return [*socksify_settings(world, scheme, to), "/usr/bin/python3", PROGRAMS / "udp_plain.py", to.host, to.port]


CLIENTS = {  # socksify and IO::Socket::Socks know UDP over IPv4 alone
    "PySocks": (library("/usr/bin/python3", PROGRAMS / "udp_pysocks.py"), {},
                {"socks5": ("IPv4",), "socks5h": ("IPv4", "IPv6", "name", "password", "password wrong")}),  # it cannot ask an IPv6 proxy for UDP
    "IO::Socket::Socks": (library("perl", PROGRAMS / "udp_perl.pl"), {},
                          {"socks5": ("IPv4",), "socks5h": ("IPv4", "name", "password", "password wrong")}),
    "node-socks": (library("node", PROGRAMS / "udp_node.js"), NODE,
                   {"socks5h": ("IPv4", "IPv6", "name", "proxy over IPv6", "password", "password wrong")}),
    "socksify": (plain, {}, {"socks5": ("IPv4", "password"), "socks5h": ("name",)}),
}


def keep(world, name, scheme, case):
    words, env, _ = CLIENTS[name]
    login = {"password": LOGIN, "password wrong": (LOGIN[0], "wrong")}.get(case, ())
    host = {"IPv6": world.address[6], "name": "far4"}.get(case, world.address[4])
    target = Target("fd01::1" if case == "proxy over IPv6" else "10.1.0.1", 1081 if login else 1080, host, ECHO, login)
    what = f"{name} {scheme}: {case}"
    data = payload(what, SIZE)
    with Talk(world.client, world.named(world.client, *words(world, scheme, target)), env) as talk:
        code, out, err = talk.finish(data)
    if case == "password wrong":
        check(code != 0 and not out, f"{what}: it ended with {code} and {len(out)} bytes came back")
    else:
        equal((code, digest(out)), (0, digest(data)), f"{what}: exit code and hash of the {len(out)} bytes ({err.strip()[-800:]})")


@promise("PySocks, IO::Socket::Socks, node-socks and socksify exchange datagrams of 1 to 8000 bytes by UDP ASSOCIATE")
def exchanges():
    broken = []

    def one(*case):
        try:
            keep(world, *case)
        except (Failure, OSError) as failure:
            broken.append(str(failure))
    with World("udp") as world:
        world.services.start_udp()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(one, name, scheme, case)
                    for name, (_, _, rows) in CLIENTS.items() for scheme, cases in rows.items() for case in cases]
            for job in jobs:
                job.result()
        check(not broken, lambda: f"{len(broken)} of {len(jobs)} cases:\n" + "\n".join(broken))
        world.nothing_left()
        print(f"      UDP: {len(jobs)} cases of {len(CLIENTS)} clients", flush=True)


@promise("redsocks relays datagrams by UDP ASSOCIATE, with and without a password")
def by_redsocks():
    with World("redudp") as world:
        world.services.start_udp()
        for port, login in ((1080, ()), (1081, LOGIN)):
            process = redsocks_udp(world.lab, world.client, f"10.1.0.1:{port}", f"{world.address[4]}:{ECHO}", login)
            data = payload(port, 20_000)
            with Talk(world.client, ["/usr/bin/python3", PROGRAMS / "udp_plain.py", "127.0.0.1", REDSOCKS]) as talk:
                code, out, err = talk.finish(data)
            equal((code, digest(out)), (0, digest(data)), f"redsocks {login}: exit code and hash of the {len(out)} bytes "
                                                          f"({err.strip()} {process.tail()})")
            process.stop()
        world.nothing_left()


run()
