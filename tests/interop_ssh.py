#!/usr/bin/python3
"""ssh and scp, whose ProxyCommand is a client of another make, through epif proxy. The server speaks first, and for long."""
import concurrent.futures
import shlex

from interop_daemons import SSH, sshd
from interop_table import Target, connect_proxy, ncat, netcat_openbsd
from interop_world import CLOSED, LOGIN, Talk, World, digest, payload
from lab import check, equal, promise, run

COMMANDS = {"nc": (netcat_openbsd, "socks5h"), "nc, SOCKS4": (netcat_openbsd, "socks4"), "ncat": (ncat, "socks5h"),
            "connect-proxy": (connect_proxy, "socks5h")}


def through(world, options, name, login=(), port=SSH):
    """The options for a connection through the client `name`."""
    program, scheme = COMMANDS[name]
    host = world.address[4] if scheme == "socks4" else "far4"
    words = program(world, scheme, Target("10.1.0.1", 1081 if login else 1080, host, port, login))
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
        for name, login, port, why in (("ncat", (), CLOSED, "Connection refused"), ("nc", (), CLOSED, "Connection refused"),
                                       ("connect-proxy", (), CLOSED, "connection refused"),
                                       ("connect-proxy", (LOGIN[0], "wrong"), SSH, "Authentication failed")):
            code, _, err = ssh(world, ["ssh", *through(world, ["-F", "none", "-o", "BatchMode=yes"], name, login, port), "root@server"])
            equal(code, 255, f"ssh through {name} to nothing ({err.strip()})")
            check(why in err, f"ssh through {name} should say {why!r}, and says {err.strip()!r}")


run()
