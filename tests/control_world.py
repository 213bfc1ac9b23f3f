"""A hospital and a research centre under one orchestrator, for the tests of the control plane.

   modality .10 ─┐                      ┌─ pacs .10
   proxy .2      ┴─ umc 10.1 ── wan ── research 10.2 ┴─ proxy .2
                                └─ control 10.9: orchestrator .7"""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess

from lab import Failure, Lab, Service, Setting, echo, epif, wait_until

API = "https://10.9.0.7:7443"
MEMBERS = {"umc/modality": "modality", "umc/proxy": "umc-proxy", "research/pacs": "pacs", "research/proxy": "research-proxy"}
DOMAINS = """
apiVersion: epif/v1
kind: Domain
metadata: {name: umc}
spec: {jurisdiction: EU}
---
apiVersion: epif/v1
kind: Domain
metadata: {name: research}
spec: {jurisdiction: EU}
---
apiVersion: epif/v1
kind: ProxyNode
metadata: {name: proxy, domain: umc}
spec: {addresses: [10.1.0.2]}
---
apiVersion: epif/v1
kind: ProxyNode
metadata: {name: proxy, domain: research}
spec: {addresses: [10.2.0.2]}
---
apiVersion: epif/v1
kind: Node
metadata: {name: modality, domain: umc}
spec: {addresses: [10.1.0.10], proxy: proxy}
---
apiVersion: epif/v1
kind: Node
metadata: {name: pacs, domain: research}
spec: {addresses: [10.2.0.10], proxy: proxy}
---
apiVersion: epif/v1
kind: Policy
metadata: {name: care}
spec:
  language: cedar
  text: |
    @id("research-needs-consent") permit(principal, action, resource)
    when { context.purpose == "research" && context.consent };
    @id("treatment") permit(principal, action, resource) when { context.purpose == "treatment" };
"""
CONSENT = """
apiVersion: epif/v1
kind: Consent
metadata: {name: p-0042}
spec: {subject: p-0042, flows: [study/send], purposes: [research]}
"""


def application(name, purpose, port, flow="send"):
    return f"""
apiVersion: epif/v1
kind: Application
metadata: {{name: {name}}}
spec:
  purpose: {purpose}
  flows:
    - {{name: {flow}, from: umc/modality, to: research/pacs, port: {port}, data: both}}
"""


class Echo(Service):
    """An unmodified server on a host: sends back what it reads."""

    def __init__(self, host, port):
        super().__init__(host.listen(port), echo)


def is_cut(connection, within=5.0):
    """Waits for the error that a cut is; an end or more bytes are none."""
    connection.settimeout(within)
    try:
        got = connection.recv(1)
    except TimeoutError:
        raise Failure("the flow goes on") from None
    except OSError:
        return True
    raise Failure(f"the flow {'goes on' if got else 'ended as if it were complete'}")


@contextlib.contextmanager
def read_only(folder):
    """The folder as it is, but nothing in it can be written by its path."""
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


class World(Setting):
    """Hosts, orchestrator and agents; `with World("name") as world` cleans up."""

    def __init__(self, name):
        super().__init__(Lab(name))
        self.agents, self.orchestrator_process = {}, None

    def take_down(self):
        for agent in self.agents.values():
            agent.signal(signal.SIGTERM)
        for agent in self.agents.values():
            agent.stop(within=30)
        for node in MEMBERS:
            if os.path.isdir(self.state_of(node)):
                self.host(node).run(epif(), "agent", "--cleanup", "--state", self.state_of(node), check=False, timeout=60)

    def build(self):
        lab = self.lab
        wan = lab.router("wan")
        for number, domain, hosts in ((1, "umc", {"modality": 10, "umc-proxy": 2}), (2, "research", {"pacs": 10, "research-proxy": 2}),
                                      (9, "control", {"orchestrator": 7})):
            switch = lab.switch(domain)
            lab.link(wan, f"10.{number}.0.1/24", switch)
            for name, last in hosts.items():
                host = lab.node(name)
                lab.link(host, f"10.{number}.0.{last}/24", switch)
                host.route("default", f"10.{number}.0.1")
        self.hosts = {node.name: node for node in lab.nodes}
        self.folder = os.path.join(lab.state, "orchestrator")
        self.env = {"EPIF_SERVER": API, "EPIF_TOKEN_FILE": f"{self.folder}/admin.token", "EPIF_CA": f"{self.folder}/ca.crt"}

    def host(self, node):
        return self.hosts[MEMBERS[node]]

    def state_of(self, node):
        return os.path.join(self.lab.state, MEMBERS[node])

    def init(self):
        said = self.hosts["orchestrator"].run(epif(), "orchestrator", "init", "--dir", self.folder, "--listen", "10.9.0.7:7443").stdout
        self.token = re.search(r"--token (\S+)", said)[1]
        self.token_file = self.lab.path("join.token")
        with open(os.open(self.token_file, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as out:
            out.write(self.token + "\n")
        return self

    def start_orchestrator(self):
        host = self.hosts["orchestrator"]
        self.orchestrator_process = host.start(epif(), "orchestrator", "run", "--dir", self.folder, "--listen", "10.9.0.7:7443",
                                               name="orchestrator")
        host.wait_for_port(7443, within=20, process=self.orchestrator_process)
        return self

    def start_agent(self, node):
        self.agents[node] = self.host(node).start(epif(), "agent", "--orchestrator", API, "--node", node, "--token-file", self.token_file,
                                                  "--state", self.state_of(node), name="agent")
        return self.agents[node]

    def start_agents(self):
        for node in MEMBERS:
            self.start_agent(node)
        for agent in self.agents.values():
            agent.wait_for_log("connected to the orchestrator", within=20)
        return self

    def start(self):
        return self.init().start_orchestrator().start_agents()

    # The user

    def client(self, *words, check=True, timeout=60):
        return self.hosts["orchestrator"].run(epif(), *words, env={**os.environ, **self.env}, check=check, timeout=timeout)

    def apply(self, text):
        path = self.lab.path("apply.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return self.client("apply", "-f", path)

    def get(self, kind, name):
        return json.loads(self.client("get", kind, name, "-o", "json").stdout)

    def status(self, name):
        return self.get("application", name).get("status", {})

    def wait_phase(self, name, phase, within=30):
        return wait_until(lambda: self.status(name) if self.status(name).get("phase") == phase else None,
                          lambda: f"{name} is {phase}: {json.dumps(self.status(name), indent=1)}", within)

    # The application

    def connect(self, port, timeout=5.0):
        return self.host("umc/modality").connect("10.2.0.10", port, timeout)

    def talks(self, port):
        """One exchange on a new connection; False if it was refused or cut."""
        try:
            with self.connect(port) as out:
                return exchange(out)
        except OSError:
            return False


def exchange(connection, text=b"hello"):
    """Sends and reads back; raises OSError when the connection was cut, Failure when it ended politely."""
    connection.sendall(text)
    back = b""
    while len(back) < len(text):
        more = connection.recv(65536)
        if not more:
            raise Failure("the flow ended as if it were complete")
        back += more
    return back == text


def refused(world, port):
    """The error that a new connection meets."""
    try:
        with world.connect(port) as out:
            out.settimeout(5)
            out.sendall(b"hello")
            if out.recv(1):
                return None
            return "ended"
    except socket.timeout:
        return "timeout"
    except OSError as error:
        return type(error).__name__
