"""A transfer that lasts until somebody ends it, with the moment and the manner of its end at both sides."""
import socket
import threading
import time

from lab import Failure, wait_until

CHUNK = bytes(64 * 1024)
SLACK_S = 0.05  # how late two threads of a busy machine may note the same moment


class End:
    """How one side saw the connection end: "end" (a clean one), or an error's name."""

    def __init__(self):
        self.manner, self.at, self.bytes = None, None, 0

    def note(self, manner):
        self.manner, self.at = manner, time.monotonic()


class LongTransfer:
    """Sends from `client` to `port` of `server` as fast as the network takes it."""

    def __init__(self, client, server, port):
        self.sender, self.receiver = End(), End()
        self._listener = server.listen(port)
        self._out = client.connect(server.address, port, timeout=15)
        self._threads = [threading.Thread(target=self._receive, daemon=True), threading.Thread(target=self._send, daemon=True)]
        for thread in self._threads:
            thread.start()

    def _send(self):
        try:
            while True:
                self.sender.bytes += self._out.send(CHUNK)
        except socket.timeout:
            self.sender.note("stalled")
        except OSError as error:
            self.sender.note(type(error).__name__)

    def _receive(self):
        try:
            peer, _ = self._listener.accept()
        except OSError as error:
            self.receiver.note(type(error).__name__)
            return
        with peer:
            peer.settimeout(15)
            try:
                while data := peer.recv(256 * 1024):
                    self.receiver.bytes += len(data)
                self.receiver.note("end")
            except OSError as error:
                self.receiver.note(type(error).__name__)

    def runs(self):
        """Waits until bytes arrive and still arrive."""
        wait_until(lambda: self.receiver.bytes > 1_000_000, lambda: f"the transfer runs ({self.ends_text()})", within=10)
        seen = self.receiver.bytes
        wait_until(lambda: self.receiver.bytes > seen + 500_000, lambda: f"the transfer goes on ({self.ends_text()})", within=5)
        return self

    def ends_text(self):
        return (f"sender: {self.sender.manner or 'running'} after {self.sender.bytes:,} bytes, "
                f"receiver: {self.receiver.manner or 'running'} after {self.receiver.bytes:,} bytes")

    def wait_ended(self, within):
        wait_until(lambda: self.sender.at and self.receiver.at, lambda: f"both ends are told ({self.ends_text()})", within)

    def expect_cut(self, since, within):
        """Both ends see an error, not an end, at most `within` seconds after `since` (time.monotonic). Returns the times."""
        self.wait_ended(within + 10)
        for name, end in (("sender", self.sender), ("receiver", self.receiver)):
            if end.manner in ("end", "stalled", "TimeoutError"):
                raise Failure(f"the {name} saw {end.manner!r} where it must see an error ({self.ends_text()})")
            if end.at - since > within + SLACK_S:
                raise Failure(f"the {name} was told after {end.at - since:.2f} s, later than {within} s")
        return self.sender.at - since, self.receiver.at - since

    def close(self):
        for one in (self._out, self._listener):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()
        for thread in self._threads:
            thread.join(20)


class Download:
    """curl fetching nginx's long file: the unrelated transfer."""

    def __init__(self, client, address):
        self.process = client.start("curl", "--silent", "--show-error", "--fail", "--no-buffer", "-o", "/dev/null", "-w",
                                    "%{size_download}", "--limit-rate", "4M", f"http://{address}/long", name="curl-long")

    def untouched(self):
        if not self.process.alive():
            raise Failure(f"the unrelated transfer ended with {self.process.code()}: {self.process.tail(3)}")


def try_connect(client, address, port, timeout=6.0):
    """What a new connection meets: "open" if it stays open and usable, else the error's name. A refusal by the proxy
    reaches the program as a reset right after the redirector's local accept, so the first byte decides."""
    try:
        with client.connect(address, port, timeout) as out:
            out.sendall(b"x")
            out.settimeout(timeout)
            return "open" if out.recv(1) else "end"
    except OSError as error:
        return type(error).__name__
