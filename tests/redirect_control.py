#!/usr/bin/python3
"""Selectors and datagrams from submit to bytes. Topology in control_world.py."""
from control_world import CONSENT, DOMAINS, World
from lab import equal, promise, run, wait_until
from redirect_world import Datagrams, Service, ask, datagram_socket, echo

ALICE, BOB = 64001, 64002
SERVER = "10.2.0.10"


def application(name, purpose, rest):
    return f"""
apiVersion: epif/v1
kind: Application
metadata: {{name: {name}}}
spec:
  purpose: {purpose}
  flows:
    - {{name: send, from: umc/modality, to: research/pacs, port: 4242, data: both, {rest}}}
---"""


def say(world, user):
    """What a program of the user gets for "hello", empty if it is refused."""
    script = ("import socket\n"
              f"try:\n    out = socket.create_connection(('{SERVER}', 4242), 5); out.sendall(b'hello'); print(out.recv(100).decode(), end='')\n"
              "except OSError as error: print(error)\n")
    said = world.host("umc/modality").run("setpriv", f"--reuid={user}", "--clear-groups", "/usr/bin/python3", "-c", script).stdout
    return said if said == "hello" else ""


@promise("two applications with one destination and different selectors run side by side, each carried for its own user alone")
def selectors():
    with World("control-selectors") as world, Service(world.host("research/pacs"), 4242, echo):
        world.start()
        world.apply(DOMAINS + "---" + CONSENT)
        world.apply(application("imaging", "treatment", f'selector: {{user: "{ALICE}"}}')
                    + application("study", "research", f'selector: {{user: "{BOB}"}}'))
        for name in ("imaging", "study"):
            world.wait_phase(name, "Running")
        equal((say(world, ALICE), say(world, BOB), say(world, 0)), ("hello", "hello", ""), "alice, bob, root")
        world.client("delete", "consent", "p-0042")
        wait_until(lambda: say(world, BOB) == "", "the user of the withdrawn consent is refused")
        equal(say(world, ALICE), "hello", "the other user")


@promise("an application of datagrams is carried through its proxy, and no other datagram")
def datagrams():
    with World("control-datagrams") as world, Datagrams(world.host("research/pacs"), 4242) as service:
        world.start()
        world.apply(DOMAINS)
        world.apply(application("voice", "treatment", "protocol: udp"))
        world.wait_phase("voice", "Running")
        node = world.host("umc/modality")
        with datagram_socket(node, SERVER) as out, datagram_socket(node, SERVER) as other:
            wire = world.hosts["wan"].capture("research", "src host 10.1.0.10")
            equal(ask(out, b"hello", (SERVER, 4242)), (b"hello", (SERVER, 4242)), "answer and its sender")
            other.sendto(b"lost", (SERVER, 4243))
            equal(ask(out, b"again", (SERVER, 4242))[0], b"again", "answer")
            equal(wire.stop().packets(), [], "packets that the node itself sent over the wan")
        equal({peer[0] for peer in service.peers}, {"10.1.0.2"}, "who sent to the server")


run()
