#!/usr/bin/python3
"""udp_plain.py HOST PORT: stdin in datagrams to HOST, and what comes back for each to stdout. It knows of no proxy: socksify does."""
import socket
import sys

from datagrams import exchange

host, port = sys.argv[1:]
with socket.socket(type=socket.SOCK_DGRAM) as made:
    exchange(lambda data: made.sendto(data, (host, int(port))), made)
