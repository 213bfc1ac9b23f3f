#!/usr/bin/python3
"""ssh and scp through epif proxy: their ProxyCommand is a client of another make, or epif redirect captures them. The server speaks
first, and for long."""
import concurrent.futures
import re
import shlex

from interop_daemons import NAME, SSH, sshd, with_resolver
from interop_peers_world import MAPPED, NOWHERE, Peers, password_file
from interop_table import Target, connect_proxy, ncat, netcat_openbsd
from interop_world import CLOSED, CLOSE_WAIT, FIRST, GO, LATE, LOGIN, WORDS, Talk, World, digest, payload
from lab import check, equal, promise, run, wait_until

FORWARD = 1085
COMMANDS = {"nc": (netcat_openbsd, "socks5h", "far4"), "nc, SOCKS4": (netcat_openbsd, "socks4", "10.2.0.20"),
            "nc, IPv6": (netcat_openbsd, "socks5h", "fd02::20"), "ncat": (ncat, "socks5h", "far6"), "ncat, IPv4": (ncat, "socks5", "10.2.0.20"),
            "connect-proxy": (connect_proxy, "socks5h", "far4")}


def through(world, options, name, login=(), port=SSH, host=None):
    """The options for a connection through the client `name`."""
    program, scheme, server = COMMANDS[name]
    words = program(world, scheme, Target("10.1.0.1", 1081 if login else 1080, host or server, port, login))
    return [*options, "-o", "ProxyCommand=" + shlex.join(map(str, words))]


def keep(world, options, name, login):
    carries(world, through(world, options, name, login), f"{name}{', password' if login else ''}")


def carries(world, options, name):
    """A command with a megabyte of input, and a megabyte copied there and back."""
    data = payload(name)
    stem = world.lab.path(re.sub(r"\W+", "-", name))
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


def half_close(world, options, name):
    """nc through ssh -D: either side ends first, and the other goes on. ssh's own connection carries these ends as messages."""
    words = ["ssh", *options, "-N", "-D", FORWARD, "root@server"]
    forward = world.client.start(*with_resolver(world.lab, "10.2.0.20", words), name="ssh-d")
    world.client.wait_for_port(FORWARD, process=forward)

    def joined(port):
        return Talk(world.client, netcat_openbsd(world, "socks5h", Target("127.0.0.1", FORWARD, world.server.address, port)))
    data = payload(name + " client first")
    with joined(LATE) as talk:
        code, out, err = talk.finish(data)
    equal((code, digest(out)), (0, digest(data)), f"{name}: hash of the {len(out)} bytes after the client's end ({err.strip()})")
    data = payload(name + " server first")
    with joined(FIRST) as talk:
        talk.write(GO)
        equal(talk.read(len(WORDS)), WORDS, f"{name}: what comes before the server's end")
        wait_until(lambda: talk.has_socket_in(CLOSE_WAIT), f"{name}: the server's end reaches the client")
        equal(talk.finish(data)[:2], (0, WORDS), f"{name}: exit code and output")
    wait_until(lambda: digest(data) in world.services.heard, f"{name}: the server received what was sent after its end")
    forward.stop()


def ssh(world, words, data=b""):
    """Names it asks of a resolver that is far away: epif redirect answers for that."""
    with Talk(world.client, with_resolver(world.lab, "10.2.0.20", words)) as talk:
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


@promise("through ssh -D, whose own way leads through nc, ncat or connect-proxy and epif proxy, either side may end first")
def half_closed():
    with World("ssh-half") as world:
        options = sshd(world.lab, world.server)
        for name in COMMANDS:
            half_close(world, through(world, options, name), name)
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


@promise("ssh and scp that know of no proxy do the same from behind epif redirect, over IPv4, IPv6 and by name; refusals end them")
def captured():
    with Peers("ssh-captured") as w:
        w.start_proxy("--listen", "10.3.0.30:1081", "--allow-all", "--user", ":".join(LOGIN), port=1081)
        options = sshd(w.lab, w.server)
        server = w.lab.processes[-1]
        capture = ("--capture", "10.2.0.0/24", "--capture", "[fd02::/64]", "--map", f"{NAME}={MAPPED}")
        for proxy, flags in ((1080, ()), (1081, ("--user-file", password_file(w, LOGIN[1])))):
            redirector = w.redirect(*capture, *flags, proxy=f"10.3.0.30:{proxy}")
            hosts = ("10.2.0.20", "fd02::20", NAME)
            with concurrent.futures.ThreadPoolExecutor(3) as pool:
                for job in [pool.submit(carries, w, to(options, host), f"{host} through {proxy}") for host in hosts]:
                    job.result()
            came_from = re.findall(r"Accepted publickey for root from (\S+)", server.output())[-9:]
            equal(sorted(came_from), ["10.3.0.30"] * 6 + ["fd03::30"] * 3, "who connected to sshd: ssh and two scp for each host")
            for host in hosts:
                half_close(w, to(options, host), f"{host} through {proxy}")
            for host, port in (("10.2.0.20", CLOSED), ("fd02::20", CLOSED), (NOWHERE[4], SSH), (NOWHERE[6], SSH)):
                is_cut(w, to(options, host, port))
            redirector.stop()
        w.redirect(*capture, "--user-file", password_file(w, "wrong"), proxy="10.3.0.30:1081")
        is_cut(w, to(options, "10.2.0.20"))
        wait_until(lambda: w.metric('refused_total{reason="unauthenticated"}') == 1, "the refusal is counted with its reason")


def to(options, host, port=SSH):
    return [*options, "-o", f"HostName={host}", "-o", f"Port={port}"]


def is_cut(world, options):
    code, _, err = ssh(world, ["ssh", *options, "root@server", "true"])
    check(code == 255 and "reset by" in err, f"ssh should be cut by a reset; it ended with {code}: {err.strip()}")


run()
