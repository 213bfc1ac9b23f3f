#!/usr/bin/python3
"""mutated_handshakes, which other tests send with, itself: what it counts as sent was said, and what never ends is told. In a namespace."""
import contextlib
import json
import os
import socket
import subprocess
import threading

from lab import Lab, check, epif, equal, promise, run, wait_until

PORT = 1080


@contextlib.contextmanager
def node(name):
    with Lab(name) as lab:
        yield lab.node("one")


def begin(one, count, server):
    """The running tool, which sends to PORT of the node."""
    words = [os.path.join(os.path.dirname(epif()), "mutated_handshakes"), str(PORT), str(count), "1", str(server.fileno())]
    with one.inside():
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=[server.fileno()])


def end(tool, within):
    out, err = tool.communicate((b"\6\0\0\0" * 3).hex(), timeout=within)
    check(out, f"it counted nothing: {err}")
    return json.loads(out)


@promise("a client whose connection takes its time says its bytes when it stands, cut or not, and counts as sent then alone")
def late():
    with node("stormlate") as one, contextlib.ExitStack() as kept:
        # The first SYN of each connection is lost, so that none stands when it is begun.
        one.run("nft", f"add table ip late; add set ip late seen {{ type inet_service; }}; "
                       f"add chain ip late in {{ type filter hook input priority 0; }}; "
                       f"add rule ip late in tcp dport {PORT} tcp flags & (syn | ack) == syn tcp sport != @seen add @seen {{ tcp sport }} drop")
        listener, server = kept.enter_context(one.listen(PORT)), kept.enter_context(one.listen(9))
        spoken = []

        def hear():
            with contextlib.suppress(OSError):
                while True:
                    with listener.accept()[0] as client, contextlib.suppress(ConnectionResetError):
                        spoken.append(False)
                        spoken[-1] = bool(client.recv(4096))
        threading.Thread(target=hear, daemon=True).start()
        told = end(begin(one, 60, server), 60)
        equal((told["sent"], told["refused"]), (60, 0), "sent and refused")
        wait_until(lambda: len(spoken) == 60, lambda: f"{len(spoken)} of 60 clients came")
        # Who closes by RST may take its bytes back; the others cannot.
        check(sum(spoken) >= 20, f"{sum(spoken)} of 60 said something")


@promise("a connection to the server that nobody ends is given up, counted, and a failure")
def endless():
    with node("stormendless") as one, contextlib.ExitStack() as kept:
        listener, server = kept.enter_context(one.listen(PORT)), kept.enter_context(one.listen(9))
        tool = begin(one, 1, server)
        kept.callback(tool.kill)

        def relay():
            with contextlib.suppress(OSError):
                kept.enter_context(one.connect("127.0.0.1", 9)).sendall(b"for ever")
                listener.accept()[0].close()
        threading.Thread(target=relay, daemon=True).start()
        told = end(tool, 60)
        equal((tool.returncode, told["echoed"], told["echoes_without_end"]), (1, 1, 1), "exit code, connections to the server, and of these without an end")


run()
