#!/usr/bin/env python3
"""A bridging function in Python: turns what the client sends into upper case. One thread per connection, no packages.

EPIF_BF_SOCKET=/tmp/upper.sock examples/bf/upper.py
"""
import json
import os
import select
import socket
import threading


def write_all(stream, data):
    while data:
        try:
            data = data[stream.send(data):]
        except BlockingIOError:
            select.select([], [stream], [])


def copy(control, conn, source, sink, direction, early, direct, change):
    """Copies one direction to its end; announces the end before it shuts down."""
    written = 0
    data = early
    while True:
        if data:
            data = change(data)
            write_all(sink, data)
            written += len(data)
        try:
            data = source.recv(65536)
        except BlockingIOError:
            select.select([source], [], [])
            data = b""
            continue
        if not data:
            break
    say(control, type="end", conn=conn, direction=direction, bytes=written)
    if not direct:
        sink.shutdown(socket.SHUT_WR)
    return written


def say(control, **message):
    control.send(json.dumps(message).encode() + b"\n")


def run(control, start, client, server, early):
    conn = start["conn"]
    counts = {}

    def way(direction, source, sink, first, direct, change):
        try:
            counts[direction] = copy(control, conn, source, sink, direction, first, direct, change)
        except OSError as error:
            say(control, type="cut", conn=conn, reason=str(error))

    first = start["early"][0]
    back = threading.Thread(target=way, args=("to_client", server, client, early[first:], start["direct"][0], bytes))
    back.start()
    way("to_server", client, server, early[:first], start["direct"][1], bytes.upper)
    back.join()
    if len(counts) == 2:
        say(control, type="report", conn=conn, bytes_to_server=counts["to_server"], bytes_to_client=counts["to_client"],
            verdict="passed", note="")
    client.close()
    server.close()


def serve(control):
    while True:
        packet, descriptors, _, _ = socket.recv_fds(control, 65536, 2)
        if not packet:
            return
        line, _, payload = packet.partition(b"\n")
        message = json.loads(line)
        if message["type"] == "open":
            say(control, type="accept", conn=message["conn"], metadata={"upper": "yes"})
        elif message["type"] == "start":
            client, server = (socket.socket(fileno=fd) for fd in descriptors)
            client.setblocking(False)
            server.setblocking(False)
            threading.Thread(target=run, args=(control, message, client, server, payload), daemon=True).start()


def main():
    path = os.environ["EPIF_BF_SOCKET"]
    if os.path.exists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen()
    while True:
        control, _ = listener.accept()
        threading.Thread(target=serve, args=(control,), daemon=True).start()


if __name__ == "__main__":
    main()
