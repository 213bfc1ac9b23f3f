"""Client, proxy and server, each in a network namespace, with the RTTs of a topology between them.

    client 10.71.0.10 ──CP── 10.71.0.2 proxy 10.72.0.2 ──PS── 10.72.0.20 server
    client 10.73.0.10 ────────────────CS──────────────────── 10.73.0.20 server

The server is always asked for as 10.73.0.20: the client reaches it over CS, the proxy over PS."""
import math
import os
import re
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests"))
from lab import Lab, Setting, epif, wait_until  # noqa: E402
import netem  # noqa: E402
from priority import starts_first_in_line  # noqa: E402

SERVER = "10.73.0.20"
PROXY = "10.71.0.2"
HTTP_PORT = 80
RTT_TOLERANCE = 0.05
PINGS = 21
PING_BYTES = 98          # of a ping's frame
ANSWER_S = 2             # beside the RTT, until no answer at all means that none will come: a lost ARP is asked for again after 1 s
PINGED_S = 10            # beside the RTTs, that ping takes at most
RTT_TOLERANCE_MS = 0.05  # at least, below 1 ms: ping tells no better
LINK_COST_MS = 0.12      # of the emulator and its devices, both ways (0.08 on a busy machine, 0.15 where it wakes idle cores): the delay is shorter by that


class Unfit(Exception):
    """The measurement cannot be made here, or would be wrong; the text says why."""


class World(Setting):
    """`topology` None: plain veth, for rates. `build`: folder of the programs."""

    def __init__(self, topology=None, loss=0.0, rate_mbit=None):
        super().__init__(Lab("bench"))
        self.topology, self.loss, self.rate_mbit = topology, loss, rate_mbit
        self._certificates = {}

    def build(self):
        lab = self.lab
        self.client, self.proxy, self.server = lab.node("client"), lab.router("proxy"), lab.node("server")
        for node in (self.client, self.proxy, self.server):
            starts_first_in_line(node)
        ends = [(self.client, "10.71.0.10/24", self.proxy, "10.71.0.2/24", "cp"),
                (self.proxy, "10.72.0.2/24", self.server, "10.72.0.20/24", "ps"),
                (self.client, "10.73.0.10/24", self.server, "10.73.0.20/24", "cs")]
        self.by_netem = bool(self.topology) and netem.known()
        if self.topology and not self.by_netem:
            self._emulated(ends)
        else:
            for a, at_a, b, at_b, device in ends:
                subprocess.run(["ip", "link", "add", device, "netns", a.netns, "type", "veth", "peer", "name", device,
                                "netns", b.netns], check=True, capture_output=True)
        for a, at_a, b, at_b, device in ends:
            for node, address in ((a, at_a), (b, at_b)):
                node.ip("address", "add", address, "dev", device)
                node.ip("link", "set", device, "up")
        self.proxy.ip("route", "add", f"{SERVER}/32", "via", "10.72.0.20")
        if self.by_netem:
            self._delayed(ends)
        for node in (self.client, self.proxy, self.server):
            node.sysctl("net.ipv4.tcp_fastopen", 3)
            node.sysctl("net.core.somaxconn", 4096)
        self.serve()
        if self.topology:
            self.check_rtts()

    def _delayed(self, ends):
        """By netem, which delays by all of what it is given: what a link costs by itself is measured once, and taken off."""
        wanted = {device: getattr(self.topology, device) for *_, device in ends}

        def delay(rtts):
            for a, _, b, _, device in ends:
                for node in (a, b):
                    subprocess.run(netem.tc(node.netns, device, rtts[device], self.loss, self.rate_mbit), check=True, capture_output=True)
        delay(wanted)
        costs = {device: (seen or 0) - self.wire_ms() - wanted[device] for (*_, device), seen in zip(ends, self.rtts())}
        if any(cost > 0 for cost in costs.values()):
            delay({device: max(0.0, rtt - max(0.0, costs[device])) for device, rtt in wanted.items()})

    def _emulated(self, ends):
        emulator = os.path.join(os.path.dirname(epif()), "link_emulator")
        words = []
        for a, _, b, _, device in ends:
            rtt = max(0.0, getattr(self.topology, device) - LINK_COST_MS)
            word = f"{a.netns}:{device}={b.netns}:{device},rtt={rtt:g}ms"
            if self.loss:
                word += f",loss={self.loss:g}"
            if self.rate_mbit:
                word += f",rate={self.rate_mbit:g}mbit"
            words.append(word)
        self.emulator = self.client.start(emulator, *words, name="link_emulator")
        self.emulator.wait_for_log("ready")

    def serve(self):
        """NGINX on the port that every competitor leads to, as `self.serving`."""
        config = self.lab.path("server.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"""daemon off; master_process off; worker_processes 1; pid {self.lab.path('server.pid')};
error_log {self.lab.path('server-error.log')};
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 1000000000; sendfile on; tcp_nopush on;
  client_body_temp_path {self.lab.path('t1')}; proxy_temp_path {self.lab.path('t2')}; fastcgi_temp_path {self.lab.path('t3')};
  uwsgi_temp_path {self.lab.path('t4')}; scgi_temp_path {self.lab.path('t5')};
  server {{ listen {HTTP_PORT} fastopen=4096 backlog=4096; root {self.lab.path('www')};
    location = / {{ return 200 "the server's answer\\n"; }} }} }}
""")
        os.makedirs(self.lab.path("www"), exist_ok=True)
        if self.server.listens(HTTP_PORT):
            raise Unfit(f"port {HTTP_PORT} of server is in use by {self.server.listener(HTTP_PORT)}")
        self.serving = self.server.start("nginx", "-c", config, "-p", self.lab.state, name="nginx")
        self.server.wait_for_port(HTTP_PORT, process=self.serving)

    def certificates(self, *names):
        """{name: (cert, key, ca)}: one authority, a certificate epif://NAME for each; made once."""
        if set(names) <= set(self._certificates):
            return self._certificates
        folder = self.lab.path("pki", "")
        os.makedirs(folder, exist_ok=True)

        def openssl(*words):
            subprocess.run(["openssl", *words], check=True, capture_output=True)

        ca, ca_key = folder + "ca.pem", folder + "ca.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", ca_key, "-out", ca,
                "-days", "2", "-subj", "/CN=bench", "-addext", "basicConstraints=critical,CA:TRUE")
        made = {}
        for name in names:
            stem = folder + name.replace("/", "-")
            openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", stem + ".key",
                    "-out", stem + ".csr", "-subj", "/CN=bench")
            with open(stem + ".ext", "w", encoding="ascii") as file:
                file.write(f"subjectAltName=URI:epif://{name}\n")
            openssl("x509", "-req", "-in", stem + ".csr", "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2",
                    "-extfile", stem + ".ext", "-out", stem + ".pem")
            made[name] = (stem + ".pem", stem + ".key", ca)
        self._certificates = made
        return made

    def check_rtts(self, tries=5):
        """A machine that is busy for a moment gets another try."""
        for left in reversed(range(tries)):
            try:
                return self._ping()
            except Unfit:
                if not left:
                    raise

    def _ping(self):
        """Pings each link; the topology is what it says, or nothing is measured."""
        for (node, address, wanted), seen in zip(self.links(), self.rtts()):
            least = 0.0 if self.by_netem else LINK_COST_MS
            if seen is None or abs(seen - self.wire_ms() - max(wanted, least)) > max(RTT_TOLERANCE * wanted, RTT_TOLERANCE_MS):
                slower = f", and {self.wire_ms():.2f} ms for the rate" if self.rate_mbit else ""
                raise Unfit(f"the RTT from {node.name} to {address} is {seen or 0:.2f} ms, not {wanted:g} ms{slower}")

    def links(self):
        """(who pings, whom, RTT of the topology in ms) of each link."""
        return ((self.client, PROXY, self.topology.cp), (self.proxy, "10.72.0.20", self.topology.ps), (self.client, SERVER, self.topology.cs))

    def wire_ms(self):
        """What the rate adds to a ping, both ways."""
        return 2 * PING_BYTES * 8 / (1000 * self.rate_mbit) if self.rate_mbit else 0.0

    def rtts(self):
        """What ping measures on each link, in ms: the median, since one late ping on a busy machine says nothing about the link; None
        where no answer came."""
        def words(count, pause_s, address, wanted):
            return "ping", "-n", "-c", count, "-i", pause_s, "-W", math.ceil(ANSWER_S + wanted / 1000), address
        for node, address, wanted in self.links():
            node.run(*words(2, 0.05, address, wanted), check=False)  # ARP, once; a link with a loss may lose both
        pings = [node.start(*words(PINGS, 0.04, address, wanted), name=f"ping-{address}") for node, address, wanted in self.links()]
        found = []
        for ping, (_, _, wanted) in zip(pings, self.links()):
            ping.wait(within=PINGED_S + 3 * wanted / 1000)
            times = [float(ms) for ms in re.findall(r"time=([\d.]+) ms", ping.output())]
            found.append(statistics.median(times) if times else None)
            self.lab.processes.remove(ping)
        return found


__all__ = ["World", "Unfit", "SERVER", "PROXY", "HTTP_PORT", "epif", "wait_until"]
