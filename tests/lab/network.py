"""The builder: namespaces, links, addresses, routes."""
import contextlib
import ctypes
import ipaddress
import itertools
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from . import names
from .capture import Capture
from .process import Process
from .program import repository
from .promise import Failure
from .wait import wait_until

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
CLOSE_S = 20.0  # an agent takes down containers and their engine when it is stopped


def _command(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Node:
    """One host: a network namespace. Made by Lab.node, Lab.router, Lab.switch."""
    forwards = False
    bridge = None

    def __init__(self, lab, name):
        self.lab, self.name, self.netns = lab, name, names.owned(f"{lab.serial}-{name}")
        self.addresses = []  # ipaddress interfaces, in the order of the links
        _command("ip", "netns", "add", self.netns)
        self.ip("link", "set", "lo", "up")
        for scope in ("default", "all"):  # no wait for duplicate addresses: here nobody else gives out any
            self.sysctl(f"net.ipv6.conf.{scope}.accept_dad", 0)
            self.sysctl(f"net.ipv6.conf.{scope}.dad_transmits", 0)
        # The defaults starve a load test: 28,000 ports, each 60 s in TIME_WAIT. Below, and where NGINX is given its ports, servers listen:
        # a connection that leaves from such a port would keep one from starting.
        self.sysctl("net.ipv4.ip_local_port_range", "16384 65535")
        self.sysctl("net.ipv4.ip_local_reserved_ports", "21000-28999,40000")
        self.sysctl("net.ipv4.tcp_tw_reuse", "1")

    @property
    def address(self):
        """The first IPv4 address, as text."""
        return next(str(a.ip) for a in self.addresses if a.version == 4)

    @property
    def address6(self):
        return next(str(a.ip) for a in self.addresses if a.version == 6)

    def ip(self, *words):
        return _command("ip", "-n", self.netns, *words)

    def route(self, destination, via):
        """A static route; `destination` may be "default"."""
        self.ip("-6" if ":" in via else "-4", "route", "replace", destination, "via", via)
        return self

    def sysctl(self, name, value):
        with self.inside(), open("/proc/sys/" + name.replace(".", "/"), "w", encoding="ascii") as file:
            file.write(str(value))
        return self

    def rate(self, interface, rate):
        """Limits what leaves through `interface`, for example "200mbit"."""
        _command("tc", "-n", self.netns, "qdisc", "replace", "dev", interface, "root", "tbf", "rate", rate,
                 "burst", "128kb", "latency", "50ms")
        return self

    @contextlib.contextmanager
    def inside(self):
        """This thread is in the namespace within the block; a socket made there stays there for life."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"{names.NETNS_DIR}/{self.netns}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(there, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns into " + self.netns)
            yield self
        finally:
            _libc.setns(home, _CLONE_NEWNET)
            os.close(home)
            os.close(there)

    def connect(self, address, port, timeout=5.0):
        """A connected TCP socket of this node."""
        with self.inside():
            return socket.create_connection((address, port), timeout)

    def listen(self, port, address="0.0.0.0"):
        """A listening TCP socket of this node."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.inside():
            listener = socket.create_server((address, port), family=family, backlog=256)
        listener.settimeout(10.0)
        return listener

    def enter(self, *words):
        """The command line that runs `words` in this namespace. nsenter, since `ip netns exec` hides the cgroups."""
        return ["nsenter", f"--net={names.NETNS_DIR}/{self.netns}", "--", *map(str, words)]

    def run(self, *words, timeout=30.0, check=True, **more):
        """Runs to the end and returns the CompletedProcess with text output."""
        done = subprocess.run(self.enter(*words), capture_output=True, text=True, timeout=timeout,
                              stdin=more.pop("stdin", subprocess.DEVNULL),
                              env={**os.environ, **self.lab.env, **(more.pop("env", None) or {})}, **more)
        if check and done.returncode != 0:
            raise Failure(f"{self.name}: {' '.join(map(str, words))} ended with {done.returncode}: "
                          f"{(done.stderr + done.stdout).strip()[-2000:]}")
        return done

    def start(self, *words, name=None, env=None, cwd=None):
        """Starts a process that lives until its stop() or the lab's end."""
        name = name or os.path.basename(str(words[0]))
        log = self.lab.log_path(f"{self.name}-{name}")
        process = Process(f"{self.name}/{name}", self.enter(*words), log, {**self.lab.env, **(env or {})}, cwd, self.lab.keep)
        self.lab.processes.append(process)
        return process

    def listens(self, port):
        """True if something listens on TCP `port` here (any address, either family)."""
        with self.inside():
            for table in ("tcp", "tcp6"):
                with open(f"/proc/thread-self/net/{table}", encoding="ascii") as file:
                    for line in file.readlines()[1:]:
                        fields = line.split()
                        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                            return True
        return False

    def listener(self, port):
        """Name and id of what listens on TCP `port` here, for messages."""
        found = re.search(r'"([^"]+)",pid=(\d+)', self.run("ss", "-Hltnp", f"sport = :{port}").stdout)
        return f"{found[1]}, process {found[2]}" if found else "another process"

    def wait_for_port(self, port, within=10.0, process=None):
        wait = process.wait_for if process else wait_until
        wait(lambda: self.listens(port), f"{self.name} listens on {port}", within)
        return self

    def capture(self, interface="any", expression=""):
        """A tcpdump that has started when this returns."""
        return Capture(self, interface, expression)


class Router(Node):
    """Forwards; nodes linked to it take it as their default gateway."""
    forwards = True

    def __init__(self, lab, name):
        super().__init__(lab, name)
        self.sysctl("net.ipv4.ip_forward", 1)
        self.sysctl("net.ipv6.conf.all.forwarding", 1)


class Switch(Node):
    """A bridge; links to it carry no address on its side."""

    def __init__(self, lab, name):
        super().__init__(lab, name)
        self.bridge = "br0"
        self.ip("link", "add", "br0", "type", "bridge")
        self.ip("link", "set", "br0", "up")


class Lab:
    """A topology and all that runs in it. `with Lab("name") as lab:` cleans up after success, failure and Ctrl-C; what a
    kill -9 leaves is removed when the next Lab is made. Logs stay in build/lab/<name> if the block failed."""
    _serials = itertools.count(1)

    def __init__(self, name, state=None, env=None, keep=False):
        """`state`: a folder of the caller's, which stays. `env`: for all processes. `keep`: close() leaves all running."""
        self.env, self.keep = dict(env or {}), keep
        self.name, self.serial = name, next(Lab._serials)
        self.nodes, self.processes, self._at_end, self._logs = [], [], [], {}
        names.remove_leftovers()
        if state:
            os.makedirs(state, exist_ok=True)
            self.state, self._own_state = str(state), False
        else:
            names.STATE_PARENT.mkdir(parents=True, exist_ok=True)
            self.state, self._own_state = tempfile.mkdtemp(prefix=f"{name}-", dir=names.STATE_PARENT), True
            names.own_folder(self.state)

    def node(self, name):
        return self._add(Node(self, name))

    def router(self, name):
        return self._add(Router(self, name))

    def switch(self, name):
        return self._add(Switch(self, name))

    def _add(self, node):
        self.nodes.append(node)
        return node

    def link(self, a, a_addresses, b, b_addresses="", rate=None):
        """A veth from `a` to `b`; its ends are named after the other side. Addresses are "10.1.0.10/24 fd01::10/64".
        A node that is linked to a router gets its default routes there. `rate` limits both directions."""
        ends = ((a, b, a_addresses), (b, a, b_addresses))
        _command("ip", "link", "add", b.name[:15], "netns", a.netns, "type", "veth",
                 "peer", "name", a.name[:15], "netns", b.netns)
        for here, there, addresses in ends:
            device = there.name[:15]
            if here.bridge:
                here.ip("link", "set", device, "master", here.bridge)
            for address in addresses.split():
                here.ip("address", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
                here.addresses.append(ipaddress.ip_interface(address))
            here.ip("link", "set", device, "up")
            if rate:
                here.rate(device, rate)
        for here, there, addresses in ends:
            if there.forwards and not here.forwards and not here.bridge:
                for gateway in (b_addresses if here is a else a_addresses).split():
                    here.route("default", gateway.partition("/")[0])
        for here, there, addresses in ends:
            wait_until(lambda: "state UP" in here.ip("link", "show", there.name[:15]), f"{here.name}'s link is up")

    def at_end(self, action):
        """`action` runs at the end, last added first, before the processes are stopped."""
        self._at_end.append(action)

    def path(self, *parts):
        """A path in the state folder, whose parent exists."""
        path = os.path.join(self.state, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def log_path(self, stem):
        """A log file of its own for each start: stem.log, stem.2.log, ..."""
        self._logs[stem] = self._logs.get(stem, 0) + 1
        return self.path(stem + (".log" if self._logs[stem] == 1 else f".{self._logs[stem]}.log"))

    def close(self):
        if self.keep:
            return
        while self._at_end:
            try:
                self._at_end.pop()()
            except Exception as error:  # noqa: BLE001 - the rest must be cleaned up, too
                print(f"lab: clean-up: {error}", file=sys.stderr)
        for process in reversed(self.processes):
            process.ask_to_stop()
        deadline = time.monotonic() + CLOSE_S
        for process in reversed(self.processes):
            process.stop(max(0.1, deadline - time.monotonic()))
        names.remove_namespaces([node.netns for node in self.nodes])
        self.nodes, self.processes = [], []

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()
        if not self._own_state:
            return
        if kind is None or kind is KeyboardInterrupt:
            shutil.rmtree(self.state, ignore_errors=True)
        else:
            names.disown_folder(self.state)
            error.add_note(f"logs are in {os.path.relpath(self.state, repository)}")
