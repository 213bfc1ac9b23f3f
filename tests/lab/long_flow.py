"""A flow that goes on and on, and is then found whole, or not."""
import hashlib
import os
import socket
import threading

from .promise import check, equal


def digest_of_all(connection):
    """A server: reads to the end, and answers with the digest of what came."""
    digest = hashlib.sha256()
    while part := connection.recv(65536):
        digest.update(part)
    connection.sendall(digest.digest())


class LongFlow:
    """While the block runs, sends over `connection` to a digest_of_all(); its end fails unless every byte arrived in its order."""

    def __init__(self, connection):
        self.connection, self.sent, self.failure = connection, 0, None
        self._digest, self._over = hashlib.sha256(), threading.Event()
        self._thread = threading.Thread(target=self._send)

    def _send(self):
        try:
            while not self._over.is_set():
                part = os.urandom(4096)
                self.connection.sendall(part)
                self._digest.update(part)
                self.sent += len(part)
                self._over.wait(0.001)  # a flow that lasts; not the machine's whole throughput
        except OSError as failure:
            self.failure = failure

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._over.set()
        self._thread.join(20)
        if kind is not None:
            return
        check(self.failure is None, f"the long flow ended after {self.sent} bytes: {self.failure}")
        self.connection.shutdown(socket.SHUT_WR)
        got = b""
        while len(got) < 32 and (part := self.connection.recv(32 - len(got))):
            got += part
        equal(got, self._digest.digest(), f"digest of {self.sent} bytes")
