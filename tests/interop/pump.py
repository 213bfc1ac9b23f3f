"""Joins stdin and stdout to a connected socket, each direction to its own end, as `nc -N` does."""
import os
import socket
import sys
import threading


def _send_stdin(out):
    while data := os.read(0, 65536):
        out.sendall(data)
    out.shutdown(socket.SHUT_WR)


def pump(out):
    out.settimeout(None)
    sender = threading.Thread(target=_send_stdin, args=(out,))
    sender.start()
    while data := out.recv(65536):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    sender.join()
    out.close()
