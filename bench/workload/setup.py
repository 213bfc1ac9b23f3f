"""The control plane: how long until an application may talk, until a change of policy is on the wire, until a revocation is.

Orchestrator and four agents in namespaces (tests/control_world.py); the chain is audit and encrypt at one proxy, decrypt at the
other, in containers. Times run from the first byte of the request to the orchestrator."""
import contextlib
import http.client
import json
import socket
import statistics
import subprocess
import threading
import time

from campaign import Step
from control_world import DOMAINS, World, exchange
from lab import Failure, Service, epif, wait_until
from priority import new_ones_first_in_line

from .control_client import Api, Phases

TITLE = "Control plane: submit, change, revoke"
PLACE = 55
SETTING = ""
COLUMNS = {"cold_ms": "submit to Ready, cold, ms", "warm_ms": "submit to Ready, warm, ms", "plain_ms": "the same without functions, ms",
           "change_ms": "change of policy to a connection through the new chain, ms", "revoke_ms": "consent withdrawn to last byte, ms"}
NOTE = ("Audit and encrypt at one proxy, decrypt at the other, in containers. Cold: no container engine runs and none has the image. Warm: "
        "the functions serve another application already. Medians of a run's repeats.")
NEEDS = ("podman", "runc")
ALONE = True
TITLES = {"control_plane": "epif"}
REPEATS = {"quick": (1, 2), "full": (5, 10), "paper": (5, 20)}  # rounds, repeats in each of what is not cold
POLICY = """apiVersion: epif/v1
kind: Policy
metadata: {{name: {name}}}
spec:
  language: cedar
  text: |
    @id("{name}") {require}permit(principal, action, resource) when {{ context.purpose == "{name}"{more} }};
"""
REQUIRE = '@require("audit,encryption") '
CONSENT = """apiVersion: epif/v1
kind: Consent
metadata: {name: p-0042}
spec: {subject: p-0042, flows: [study/send], purposes: [research]}
"""
PORTS_OF = {"keeper": ("keeping", 4001), "study": ("research", 4002), "imaging": ("treatment", 4003), "reports": ("plain", 4004)}
TARGET = "10.2.0.10"
NAME_BYTES = 32     # first bytes of a flow that is revoked
TICK_S = 0.001      # both ends of a flow that is revoked send so often


def steps(lengths, topologies, competitors):
    return [Step("setup", "control_plane", "", 1, r) for r in range(REPEATS[lengths.kind][0])] if "epif" in competitors else []


def seconds(step, lengths):
    return 6 + 0.9 * REPEATS[lengths.kind][1]  # orchestrator and agents; each repeat stops, changes and revokes


def once(world, rival, step, lengths):
    repeats = REPEATS[lengths.kind][1]
    with World("bench-setup") as control, contextlib.ExitStack() as stack:
        stack.enter_context(new_ones_first_in_line(control.hosts.values()))
        control.start()
        api = stack.enter_context(contextlib.closing(Api(control)))
        phases = stack.enter_context(contextlib.closing(Phases(api)))
        api.apply("---\n".join([domains(), functions(), CONSENT, policy("keeping", REQUIRE), policy("plain"), policy("treatment"),
                                policy("research", REQUIRE, " && context.consent")]))
        for _, port in PORTS_OF.values():
            stack.enter_context(Talker(control.host("research/pacs"), port))
        found = {"cold_ms": [submit(api, phases, "keeper")],
                 "plain_ms": [submitted_again(api, phases, "reports", i) for i in range(repeats)],
                 "warm_ms": [submitted_again(api, phases, "study", i) for i in range(repeats)]}
        submit(api, phases, "imaging")
        found["change_ms"] = [changed(control, api, i % 2 == 0) for i in range(2 * repeats)][::2]
        found["revoke_ms"] = [revoked(control, api, phases) for _ in range(repeats)]
    return {**{name: statistics.median(values) for name, values in found.items()},
            **{name.replace("_ms", "_max_ms"): max(values) for name, values in found.items()}, "repeats": repeats}


def domains():
    return DOMAINS.rpartition("---")[0]  # without their policies


def functions():
    image = subprocess.run([epif(), "bf", "image"], capture_output=True, text=True, check=True).stdout.strip()
    return "---".join(f"""
apiVersion: epif/v1
kind: BridgingFunction
metadata: {{name: {name}}}
spec: {{provides: [{provides}], image: "{image}", cost: {{setup: 3ms}}{more}}}
""" for name, provides, more in (("audit", "audit", ""), ("encrypt", "encryption", ", pair: decrypt"), ("decrypt", "", "")))


def policy(name, require="", more=""):
    return POLICY.format(name=name, require=require, more=more)


def application(name):
    purpose, port = PORTS_OF[name]
    return f"""apiVersion: epif/v1
kind: Application
metadata: {{name: {name}}}
spec:
  purpose: {purpose}
  flows:
    - {{name: send, from: umc/modality, to: research/pacs, port: {port}, data: push}}
"""


def submit(api, phases, name):
    began = time.monotonic()
    api.apply(application(name))
    return (phases.wait(name, ("Ready", "Running"), began) - began) * 1000


def submitted_again(api, phases, name, times_before):
    if times_before:
        began = time.monotonic()
        api.ask("PUT", f"/v1/applications/{name}/desired", json.dumps({"desired": "stopped"}))
        phases.wait(name, ("Stopped",), began)
    return submit(api, phases, name)


def changed(control, api, stronger):
    """imaging gets its functions, or loses them: until a new connection goes through just those."""
    began = time.monotonic()
    api.apply(policy("treatment", REQUIRE if stronger else ""))
    wanted, port = {"audit", "encrypt"} if stronger else set(), PORTS_OF["imaging"][1]

    def through():
        try:
            with control.connect(port, timeout=5) as out:
                exchange(out)
                at = time.monotonic()
                mine = [flow for flow in flows(f"{control.state_of('umc/proxy')}/admin.sock") if flow["destination"].endswith(f":{port}")]
                return at if mine and all(set(flow["chain"]) == wanted for flow in mine) else None
        except (OSError, Failure):
            return None  # refused or cut on the way from the old to the new
    return (wait_until(through, f"a connection through {sorted(wanted)}", within=60) - began) * 1000


def flows(path):
    class Local(http.client.HTTPConnection):
        def connect(self):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(5)
            self.sock.connect(path)
    with contextlib.closing(Local("localhost")) as admin:
        admin.request("GET", "/flows")
        return json.loads(admin.getresponse().read())["flows"]


def revoked(control, api, phases):
    """Both ends of study's flow send all the time: from the withdrawal to the last byte that either of them got."""
    port = PORTS_OF["study"][1]
    name = f"talk {time.monotonic_ns()}".encode().ljust(NAME_BYTES)
    with control.connect(port) as out:
        client = Talk(out, name)
        server = wait_until(lambda: Talker.named.pop(name, None), "the server has the connection")
        wait_until(lambda: client.count > 20 and server.count > 20, "bytes pass both ways")
        began = time.monotonic()
        api.ask("DELETE", "/v1/consents/p-0042")
        for end in (client, server):
            end.over.wait(10)
            if not isinstance(end.error, ConnectionError):
                raise Failure(f"a revoked flow was not cut: {end.error or 'it ended as if it were complete' if end.over.is_set() else 'it goes on'}")
    last = max(client.last, server.last)
    again = time.monotonic()
    phases.wait("study", ("Denied",), began)
    api.apply(CONSENT)
    phases.wait("study", ("Ready", "Running"), again)
    wait_until(lambda: talks(control, port), "the flow is back", within=20)
    return max(0.0, last - began) * 1000


def talks(control, port):
    try:
        with control.connect(port) as out:
            exchange(out)
            return True
    except (OSError, Failure):
        return False


class Talk:
    """One end of a connection: sends a little all the time, and knows when it read last, and how it ended."""

    def __init__(self, connection, first):
        connection.settimeout(10)
        connection.sendall(first)
        self.connection, self.count, self.last, self.error = connection, 0, 0.0, None
        self.ending, self.over = threading.Event(), threading.Event()
        self.sender = threading.Thread(target=self._send, daemon=True)
        self.sender.start()
        threading.Thread(target=self._read, daemon=True).start()

    def _send(self):
        try:
            while not self.ending.wait(TICK_S):
                self.connection.sendall(b"0123456789abcdef")
        except OSError as error:
            self.error = error  # a reset is told once: whoever meets it first has it

    def _read(self):
        try:
            while self.connection.recv(4096):
                self.count, self.last = self.count + 1, time.monotonic()
        except OSError as error:
            self.error = error
        self.ending.set()
        self.sender.join()
        self.connection.close()
        self.over.set()


class Talker(Service):
    """A server: echoes the first message of a connection, then talks."""
    named = {}  # {start of what came first: Talk}

    def __init__(self, host, port):
        super().__init__(host.listen(port), self._talk)

    @staticmethod
    def _talk(peer):
        peer.settimeout(10)
        first = peer.recv(65536)
        talk = Talker.named[first[:NAME_BYTES]] = Talk(peer, first)
        talk.over.wait()
