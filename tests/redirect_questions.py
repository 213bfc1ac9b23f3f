"""Questions to a resolver and its answers, for the redirect tests."""
import socket
import struct

from lab import equal
from redirect_world import ask, datagram_socket, read_all

NAME, MAPPED, MAPPED6 = "pacs.research.example", "10.200.0.7", "fd0a::7"  # addresses that exist nowhere
A, AAAA, MX = 1, 28, 15
RESOLVER = "10.4.0.53"


def query(name, kind, number=0x4242):
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + b"".join(
        bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0" + struct.pack(">HH", kind, 1)


def parts(answer):
    """Error code and addresses."""
    _, flags, _, count, _, _ = struct.unpack(">HHHHHH", answer[:12])
    found, at = [], answer.index(b"\0", 12) + 5
    for _ in range(count):
        size = struct.unpack(">H", answer[at + 10:at + 12])[0]
        data = answer[at + 12:at + 12 + size]
        found.append(socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, data))
        at += 12 + size
    return flags & 15, found


def foreign(data):
    """The resolver's own answer: 192.0.2.1 for everything."""
    return data[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + data[12:data.index(b"\0", 12) + 5] + b"\xc0\x0c\0\1\0\1\0\0\0\x05\0\4\xc0\0\2\1"


def resolve(node, name, kind=A, server=RESOLVER):
    with datagram_socket(node, server) as out:
        answer, sender = ask(out, query(name, kind), (server, 53))
        equal(sender, (server, 53), "who answered")
        equal(answer[:2], b"\x42\x42", "number of the answer")
        return parts(answer)


def resolve_stream(node, name, kind=A, server=RESOLVER):
    with node.connect(server, 53) as out:
        message = query(name, kind)
        out.sendall(struct.pack(">H", len(message)) + message[:5])
        out.sendall(message[5:])
        length = struct.unpack(">H", read_all(out, 2))[0]
        return parts(read_all(out, length))
