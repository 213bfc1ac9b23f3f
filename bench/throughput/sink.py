#!/usr/bin/python3
"""A server for uploads: sink.py PORT

Of each connection it reads one HTTP request with its Content-Length; the kernel drops the body (MSG_TRUNC), so that reading costs
no copy. It answers 200 once the whole body is there. At the end of each connection that brought a body it prints a line:
{"received": bytes of the body, "seconds": from the first byte of the request to the last of the body}."""
import contextlib
import json
import os
import re
import socket
import sys
import threading
import time

HEAD_BYTES = 16 << 10
AT_ONCE_BYTES = 1 << 20
WAITING = 4096  # connections that nobody has accepted yet, and with Fast Open: as the NGINX in whose place it serves
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def upload(peer):
    """(bytes of the body that came, seconds they took)."""
    head, began = b"", 0.0
    while (end := head.find(b"\r\n\r\n")) < 0:
        part = peer.recv(HEAD_BYTES)
        if not part:
            return 0, 0.0
        head, began = head + part, began or time.monotonic()
    said = re.search(rb"\r\ncontent-length: *(\d+)", head[:end], re.I)
    length, received, last = int(said[1]) if said else 0, len(head) - end - 4, time.monotonic()
    dropped = bytearray(AT_ONCE_BYTES)
    with contextlib.suppress(ConnectionError):
        while received < length and (got := peer.recv_into(dropped, min(AT_ONCE_BYTES, length - received), socket.MSG_TRUNC)):
            received, last = received + got, time.monotonic()
        if received == length:
            peer.sendall(ANSWER)
    return received, last - began


def serve(peer):
    with peer, contextlib.suppress(ConnectionError):
        received, seconds = upload(peer)
        if received:
            line = json.dumps({"received": received, "seconds": seconds}) + "\n"
            os.write(sys.stdout.fileno(), line.encode())  # at once: two connections may end together


def main():
    with socket.create_server(("", int(sys.argv[1])), backlog=WAITING) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, WAITING)
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=serve, args=(peer,), daemon=True).start()


main()
