"""Handshakes with a few bytes changed, and processes that send them.

EPIF_MUTATIONS sets how many (default 50000, of which some tests send a part; a million for those that mutated_handshakes.cc sends),
EPIF_SEED their seed."""
import contextlib
import json
import os
import random
import socket
import struct
import subprocess
import threading

from lab import check, epif
from proxy_world import TIMEOUT, option, v6_request

COUNT, MILLION = (int(os.environ.get("EPIF_MUTATIONS", default)) for default in ("50000", "1000000"))
SEED = int(os.environ.get("EPIF_SEED", "6"))
ABORT = struct.pack("ii", 1, 0)


def trunk_messages(port):
    """An offer, a trunk with two flows on it, and a stream that wants to move to a trunk that is not there (docs/trunk.md)."""
    def wish(what, stream=0):
        return option(0xfce3, bytes([1, what, 0, 0]) + bytes(16) + struct.pack(">I", stream))

    def frame(kind, flags, stream, payload=b""):
        return struct.pack(">BBHI", kind, flags, len(payload), stream) + payload
    flows = b"".join(frame(0, 1, stream, v6_request(port) + b"ping") + frame(2, 0, stream, struct.pack(">I", 4096)) for stream in (1, 2))
    return [v6_request(port, options=wish(0)) + b"ping",
            v6_request(0, "0.0.0.0", wish(1), 0) + flows + frame(0, 2, 1) + frame(1, 0, 2),
            v6_request(0, "0.0.0.0", wish(2, 1), 0)]


def mutate(message, chance):
    made = bytearray(message)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(made)) if made else 0
        what = chance.randrange(5)
        if what == 0 and made:
            made[at] = chance.randrange(256)
        elif what == 1 and made:
            made[at] ^= 1 << chance.randrange(8)
        elif what == 2:
            made[at:at] = chance.randbytes(chance.randrange(1, 9))
        elif what == 3:
            del made[at:at + chance.randrange(1, 9)]
        else:
            del made[at:]
    return bytes(made) or b"\x06"


def tell(connection, message, chance):
    """Sends it, cut anywhere, ended by FIN or RST or neither; then reads the answer or not."""
    manner = chance.randrange(8)
    cut = chance.randrange(len(message)) if manner & 1 else 0
    if cut:
        connection.sendall(message[:cut])
    connection.sendall(message[cut:])
    if manner & 2:
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    if manner & 4:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)


def storm(port, messages, count, seed, listener):
    """Sends `count` of them, mutated, to the proxy at this port, and echoes at `listener`. What mutated_handshakes.cc counted."""
    words = [os.path.join(os.path.dirname(epif()), "mutated_handshakes"), str(port), str(count), str(seed), str(listener.fileno())]
    done = subprocess.run(words, input="\n".join(message.hex() for message in messages), capture_output=True, text=True, timeout=400,
                          pass_fds=[listener.fileno()])
    check(done.returncode == 0, f"mutated_handshakes ended with {done.returncode}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def answer_mutated(listener, answers, seed):
    """A hostile peer: reads once, and answers with one of `answers`, changed or (one in eight) as it is. Never ends."""
    chance = random.Random(seed)

    def answer(connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(TIMEOUT)
            if chance.randrange(8) and not connection.recv(4096):
                return  # a warm connection that was not used
            message = chance.choice(answers)
            tell(connection, mutate(message, chance) if chance.randrange(8) else message, chance)
    while True:  # one may wait for a request that is long in coming
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def child(work):
    """Runs `work` in a process of its own; gives its number."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def in_two_processes(work):
    for pid in [child(lambda part=part: work(part)) for part in range(2)]:
        os.waitpid(pid, 0)
