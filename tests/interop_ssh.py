#!/usr/bin/python3
"""ssh and scp, whose ProxyCommand is a client of another make, through epif proxy. The server speaks first, and for long."""
import concurrent.futures
import shlex

from interop_daemons import SSH, sshd
from interop_table import Target, connect_proxy, ncat, netcat_openbsd
from interop_world import CLOSED, LOGIN, Talk, World, digest, payload
from lab import check, equal, promise, run

COMMANDS = {"nc": (netcat_openbsd, "socks5h", "far4"), "nc, SOCKS4": (netcat_openbsd, "socks4", "10.2.0.20"),
            "nc, IPv6": (netcat_openbsd, "socks5h", "fd02::20"), "ncat": (ncat, "socks5h", "far6"), "ncat, IPv4": (ncat, "socks5", "10.2.0.20"),
            "connect-proxy": (connect_proxy, "socks5h", "far4")}


def through(world, options, name, login=(), port=SSH, host=None):
    """The options for a connection through the client `name`."""
    program, scheme, server = COMMANDS[name]
    words = program(world, scheme, Target("10.1.0.1", 1081 if login else 1080, host or server, port, login))
    return [*options, "-o", "ProxyCommand=" + shlex.join(map(str, words))]


def keep(world, options, name, login):
    """A command with a megabyte of input, and a megabyte copied there and back."""
    options = through(world, options, name, login)
    data = payload(name)
    stem = world.lab.path(f"{name.replace(', ', '-')}-{bool(login)}")
    with open(stem, "wb") as file:
        file.write(data)
    code, out, err = ssh(world, ["ssh", *options, "root@server", "sha256sum"], data)
    equal((code, out.split()[:1]), (0, [digest(data).encode()]), f"{name}: sha256sum over ssh ({err.strip()})")
    for step in ([stem, f"root@server:{stem}.there"], [f"root@server:{stem}.there", f"{stem}.back"]):
        code, _, err = ssh(world, ["scp", "-q", *options, *step])
        equal(code, 0, f"{name}: scp {step} ({err.strip()})")
    for copy in ("there", "back"):
        with open(f"{stem}.{copy}", "rb") as file:
            equal(digest(file.read()), digest(data), f"{name}: the copy that went {copy}")


def ssh(world, words, data=b""):
    with Talk(world.client, words) as talk:
        return talk.finish(data)


@promise("ssh runs a command and scp copies 1 MB there and back, through nc, ncat and connect-proxy, with and without a password")
def with_ssh():
    with World("ssh") as world:
        options = sshd(world.lab, world.server)
        jobs = [(name, ()) for name in COMMANDS] + [("ncat", LOGIN), ("connect-proxy", LOGIN)]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            for job in [pool.submit(keep, world, options, *job) for job in jobs]:
                job.result()
        world.nothing_left()


@promise("ssh tells why its ProxyCommand could not connect")
def told_why():
    with World("ssh-refused") as world:
        wrong = (LOGIN[0], "wrong")
        for name, login, host, port, why in (("ncat", (), None, CLOSED, "Connection refused"), ("nc", (), None, CLOSED, "Connection refused"),
                                             ("connect-proxy", (), None, CLOSED, "connection refused"),
                                             ("nc", (), "10.9.0.1", SSH, "Host unreachable"), ("ncat", (), "10.8.0.1", SSH, "Network unreachable"),
                                             ("ncat", wrong, None, SSH, "authentication failed"),
                                             ("connect-proxy", wrong, None, SSH, "Authentication failed")):
            options = through(world, ["-F", "none", "-o", "BatchMode=yes"], name, login, port, host)
            code, _, err = ssh(world, ["ssh", *options, "root@server"])
            equal(code, 255, f"ssh through {name} to nothing ({err.strip()})")
            check(why in err, f"ssh through {name} should say {why!r}, and says {err.strip()!r}")


run()
