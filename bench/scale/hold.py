#!/usr/bin/python3
"""Opens connections and keeps them: hold.py ADDR:PORT COUNT

Each asks an HTTP server for /?n=NUMBER and must read its own number back: that is an echo, through proxies of HTTP as well. Prints
{"held": COUNT, "seconds": S} when all have; then, for each line of its input, all ask again on the same connections: {"alive": N,
"why": what the first dead one met}. Ends with its input."""
import json
import resource
import select
import socket
import sys
import time

AT_ONCE = 128       # connections that are being opened or asked at a time
PATIENCE_S = 15.0   # for any of them


class Held:
    def __init__(self, number, host):
        self.number = number
        self.question = f"GET /?n={number} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.answer, self.deadline = b"", 0.0

    def open(self, to):
        try:
            self.socket.connect(to)
        except BlockingIOError:
            pass

    def ask(self):
        self.answer = b""
        self.socket.send(self.question)

    def read(self):
        """True once the whole answer is there; raises OSError for a wrong or missing one."""
        part = self.socket.recv(4096)
        self.answer += part
        if not part:
            raise OSError(f"closed after {self.answer[:60]!r}")
        head, end, body = self.answer.partition(b"\r\n\r\n")
        if not end or len(body) < len(str(self.number)):
            return False
        if not head.startswith(b"HTTP/1.1 200") or body != str(self.number).encode():
            raise OSError(f"answered {self.answer[:60]!r}")
        return True


def all_ask(all_held, to=None):
    """Each asks once, after connecting when `to` is given. Returns how many read their number, and why the first did not; after
    that one no other begins."""
    poll, waiting, by_fd = select.epoll(), iter(all_held), {}
    good, why = 0, ""

    def done(held, reason=""):
        nonlocal good, why
        del by_fd[held.socket.fileno()]
        poll.unregister(held.socket)
        good, why = good + (not reason), why or reason

    while True:
        while len(by_fd) < AT_ONCE and not why and (held := next(waiting, None)):
            by_fd[held.socket.fileno()] = held
            held.deadline = time.monotonic() + PATIENCE_S
            poll.register(held.socket, select.EPOLLOUT)
            if to:
                held.open(to)
        if not by_fd:
            return good, why
        events, now = poll.poll(1.0), time.monotonic()
        for held in [held for held in by_fd.values() if held.deadline < now]:
            done(held, f"no answer within {PATIENCE_S:g} s")
        for fd, event in events:
            held = by_fd.get(fd)
            if not held:
                continue
            try:
                if event & select.EPOLLOUT:
                    if failed := held.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        raise OSError(failed, "cannot connect")
                    held.ask()
                    poll.modify(fd, select.EPOLLIN)
                elif held.read():
                    done(held)
            except OSError as error:
                done(held, str(error))


def main():
    host, count = sys.argv[1], int(sys.argv[2])
    address, port = host.rsplit(":", 1)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    started = time.monotonic()
    all_held = [Held(number, host) for number in range(count)]
    good, why = all_ask(all_held, (address, int(port)))
    print(json.dumps({"held": good, "why": why, "seconds": time.monotonic() - started}), flush=True)
    for _ in sys.stdin:
        good, why = all_ask(all_held)
        print(json.dumps({"alive": good, "why": why}), flush=True)


main()
