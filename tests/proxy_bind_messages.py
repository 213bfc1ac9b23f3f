"""BIND in all SOCKS versions, by hand."""
import socket
import struct

from lab import equal
from proxy_world import TIMEOUT, ip4, read_exactly, v5_request, v6_request

BIND = 2


def v4_bind(address="127.0.0.1", port=0):
    return b"\x04\x02" + struct.pack(">H", port) + ip4(address) + b"me\0"


def v4a_bind(name):
    return b"\x04\x02\0\0\0\0\0\x01me\0" + name.encode() + b"\0"


def read_v4(connection):
    """(code, address, port)"""
    reply = read_exactly(connection, 8)
    equal(reply[0], 0, "the first byte of a SOCKS4 reply")
    return reply[1], socket.inet_ntoa(reply[4:8]), struct.unpack(">H", reply[2:4])[0]


def read_v5(connection):
    head = read_exactly(connection, 4)
    family, size = {1: (socket.AF_INET, 4), 4: (socket.AF_INET6, 16)}[head[3]]
    address = socket.inet_ntop(family, read_exactly(connection, size))
    return head[1], address, struct.unpack(">H", read_exactly(connection, 2))[0]


def read_v6_operation(connection):
    """(code, address, port, options) of an Operation Reply."""
    head = read_exactly(connection, 8)
    family, size = {1: (socket.AF_INET, 4), 4: (socket.AF_INET6, 16)}[head[7]]
    address = socket.inet_ntop(family, read_exactly(connection, size))
    return head[1], address, struct.unpack(">H", head[4:6])[0], read_exactly(connection, struct.unpack(">H", head[2:4])[0])


def read_v6(connection):
    version, kind, length = struct.unpack(">BBH", read_exactly(connection, 4))
    equal((version, kind), (6, 0), "the authentication reply")
    read_exactly(connection, length)
    return read_v6_operation(connection)[:3]


def open_bind(proxy, protocol, expected="127.0.0.1"):
    """(connection, address and port of the first reply, reader of the second)"""
    made = proxy.connect()
    if protocol == "4":
        made.sendall(v4_bind(expected))
        reader = read_v4
        code, *bound = read_v4(made)
        equal(code, 0x5a, "the first reply")
        return made, tuple(bound), reader
    if protocol == "4a":
        made.sendall(v4a_bind("localhost"))
        code, *bound = read_v4(made)
        equal(code, 0x5a, "the first reply")
        return made, tuple(bound), read_v4
    if protocol == "5":
        made.sendall(b"\x05\x01\0" + v5_request(0, expected, BIND))
        read_exactly(made, 2)
        code, *bound = read_v5(made)
        equal(code, 0, "the first reply")
        return made, tuple(bound), read_v5
    made.sendall(v6_request(0, "0.0.0.0", command=BIND))
    code, *bound = read_v6(made)
    equal(code, 0, "the first reply")
    return made, tuple(bound), lambda connection: read_v6_operation(connection)[:3]


def come_from(address, to):
    return socket.create_connection(to, TIMEOUT, source_address=(address, 0))


def refuses(address):
    try:
        socket.create_connection(address, 1).close()
        return False
    except OSError:
        return True
