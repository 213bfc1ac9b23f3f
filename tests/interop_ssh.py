#!/usr/bin/python3
"""ssh and scp, whose ProxyCommand is a client of another make, through epif proxy. The server speaks first, and for long."""
import concurrent.futures
import os
import shlex

from interop_table import Target, connect_proxy, ncat, netcat_openbsd
from interop_world import CLOSED, LOGIN, Talk, World, digest, payload
from lab import check, equal, promise, run

SSH = 2022
COMMANDS = {"nc": (netcat_openbsd, "socks5h"), "nc, SOCKS4": (netcat_openbsd, "socks4"), "ncat": (ncat, "socks5h"),
            "connect-proxy": (connect_proxy, "socks5h")}


def start_sshd(world):
    """An sshd on the server with keys of its own; what a client needs to reach it as root."""
    lab = world.lab
    for name in ("host", "user"):
        world.server.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", lab.path(name))
    with open(lab.path("host.pub"), encoding="ascii") as key:
        known = world.file("known_hosts", "server " + key.read())
    settings = world.file("sshd_config", f"Port {SSH}\nHostKey {lab.path('host')}\nAuthorizedKeysFile {lab.path('user.pub')}\n"
                          "StrictModes no\nPermitRootLogin prohibit-password\nUsePAM yes\nPidFile none\nPrintMotd no\n"
                          "Subsystem sftp internal-sftp\n")
    os.makedirs("/run/sshd", exist_ok=True)  # it wants this folder
    sshd = world.server.start("/usr/sbin/sshd", "-D", "-e", "-f", settings)
    world.server.wait_for_port(SSH, process=sshd)
    return ["-F", "none", "-i", lab.path("user"), "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={known}", "-o", "HostKeyAlias=server",
            "-o", "StrictHostKeyChecking=yes", "-o", "ControlMaster=no"]


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
        options = start_sshd(world)
        jobs = [(name, ()) for name in COMMANDS] + [("ncat", LOGIN), ("connect-proxy", LOGIN)]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            for job in [pool.submit(keep, world, options, *job) for job in jobs]:
                job.result()


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
