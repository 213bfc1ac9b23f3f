"""What the UDP tests of the proxy share: servers, SOCKS datagrams made by hand, associations."""
import contextlib
import ipaddress
import socket
import struct
import threading

from lab import check, equal
from proxy_world import TIMEOUT, option, read_exactly

ANY = "0.0.0.0"


class UdpServer:
    """Answers each datagram with `answer(payload)` from the address that was asked; remembers who asked what."""

    def __init__(self, address="127.0.0.1", answer=lambda payload: b"re:" + payload, port=0, node=None):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with node.inside() if node else contextlib.nullcontext():
            self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        self.host, self.port = address, self.socket.getsockname()[1]
        self.answer, self.seen, self.sources = answer, [], []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                payload, source = self.socket.recvfrom(65536)
                if payload == b"the end of this server":
                    return
                self.seen.append(payload)
                self.sources.append(source)
                if (answer := self.answer(payload)) is not None:
                    self.socket.sendto(answer, source)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        with socket.socket(self.socket.family, socket.SOCK_DGRAM) as last:
            last.sendto(b"the end of this server", (self.host, self.port))
        self.socket.close()


def packed(address):
    """(address type, bytes) of an address, or of a name as SOCKS5 has it."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return 3, bytes([len(address)]) + address.encode()
    return (1 if ip.version == 4 else 4), ip.packed


def v5_datagram(address, port, payload, fragment=0):
    kind, field = packed(address)
    return b"\0\0" + bytes([fragment, kind]) + field + struct.pack(">H", port) + payload


def read_v5(datagram):
    """(address, port, payload)"""
    equal(datagram[:3], b"\0\0\0", "reserved bytes and fragment")
    size = {1: 4, 4: 16}[datagram[3]]
    host = str(ipaddress.ip_address(datagram[4:4 + size]))
    return host, struct.unpack(">H", datagram[4 + size:6 + size])[0], datagram[6 + size:]


def v5_associate(address=ANY, port=0):
    kind, field = packed(address)
    return b"\x05\x01\0\x05\x03\0" + bytes([kind]) + field + struct.pack(">H", port)


class V5:
    """A SOCKS5 association: the control connection and a UDP socket that sends to its relay."""

    def __init__(self, proxy, host="127.0.0.1", port=0, source=None, address=ANY):
        self.control = socket.create_connection((host, proxy.port), TIMEOUT)
        self.control.sendall(v5_associate(address, port))
        equal(read_exactly(self.control, 2), b"\x05\0", "the method")
        head = read_exactly(self.control, 4)
        equal(head[:3], b"\x05\0\0", "the reply")
        self.relay = (str(ipaddress.ip_address(read_exactly(self.control, {1: 4, 4: 16}[head[3]]))),
                      struct.unpack(">H", read_exactly(self.control, 2))[0])
        self.socket = socket.socket(self.control.family, socket.SOCK_DGRAM)
        self.socket.settimeout(TIMEOUT)
        if source:
            self.socket.bind(source)

    def send(self, address, port, payload, fragment=0):
        self.socket.sendto(v5_datagram(address, port, payload, fragment), self.relay)

    def receive(self):
        return read_v5(self.socket.recv(65536))

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.control.close()
        self.socket.close()


def v6_associate(address=ANY, port=0, options=b""):
    kind, field = packed(address)
    if kind == 3:
        field = v6_name(address)
    return b"\x06\x03" + struct.pack(">HHBB", len(options), port, 0, kind) + field + options


def v6_name(name):
    field = name.encode() + b"\0" * (-(1 + len(name)) % 4)
    return bytes([len(field)]) + field


def v6_datagram(number, address, port, payload):
    kind, field = packed(address)
    if kind == 3:
        field = v6_name(address)
    size = 12 + 4 + len(field) + len(payload)
    return struct.pack(">BBH", 6, 3, size) + number + struct.pack(">BBH", kind, 0, port) + field + payload


def read_v6(message):
    """(type, number, host, port, payload); the latter three only of datagrams and errors."""
    version, kind, size = struct.unpack(">BBH", message[:4])
    equal((version, size), (6, len(message)), "version and length")
    if kind < 3:
        return kind, message[4:12]
    length = {1: 4, 4: 16}[message[12]]
    host = str(ipaddress.ip_address(message[16:16 + length]))
    return kind, message[4:12], host, struct.unpack(">H", message[14:16])[0], message[16 + length:]


class V6:
    """A SOCKS6 association. `connection` is given for one inside of TLS."""

    def __init__(self, proxy=None, address=ANY, port=0, options=b"", host="127.0.0.1", connection=None):
        self.control = connection or socket.create_connection((host, proxy.port), TIMEOUT)
        self.port = (host, proxy.port) if proxy else None
        self.control.sendall(v6_associate(address, port, options))
        reply = read_exactly(self.control, 4)
        equal(reply[:2], b"\x06\0", "the authentication reply")
        self.authenticated = read_exactly(self.control, struct.unpack(">H", reply[2:])[0])
        head = read_exactly(self.control, 8)
        equal(head[:2], b"\x06\0", "the operation reply")
        self.bound = (str(ipaddress.ip_address(read_exactly(self.control, {1: 4, 4: 16}[head[7]]))),
                      struct.unpack(">H", head[4:6])[0])
        self.options = read_exactly(self.control, struct.unpack(">H", head[2:4])[0])
        kind, self.number = self.message()[:2]
        equal(kind, 1, "the type of the first message")
        self.socket = socket.socket(self.control.family, socket.SOCK_DGRAM)
        self.socket.settimeout(TIMEOUT)

    def message(self):
        """The next message of the connection."""
        head = read_exactly(self.control, 4)
        return read_v6(head + read_exactly(self.control, struct.unpack(">H", head[2:4])[0] - 4))

    def send(self, address, port, payload):
        """Inside of the connection."""
        self.control.sendall(v6_datagram(self.number, address, port, payload))

    def send_udp(self, address, port, payload, through=None):
        (through or self.socket).sendto(v6_datagram(self.number, address, port, payload), self.port)

    def receive_udp(self):
        return read_v6(self.socket.recv(65536))

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.control.close()
        self.socket.close()


def stack(leg, level, code, first, second=0):
    return option(1, bytes([leg << 6 | level, code, first, second]))


def silent(udp, seconds=0.3):
    """True if nothing arrives although what came before has been answered."""
    udp.settimeout(seconds)
    try:
        return udp.recv(65536) and False
    except TimeoutError:
        return True
    finally:
        udp.settimeout(TIMEOUT)


def drops(proxy, reason):
    return proxy.metric(f'epif_proxy_udp_dropped_total{{reason="{reason}"}}')


def memory_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def udp_route(id, port, address="127.0.0.1", **fields):
    destination = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return {"id": id, "sources": ["127.0.0.0/8", "::1"], "destination": destination, "protocol": "udp", **fields}


def expect(udp, wanted, what):
    got = udp.receive()
    check(got == wanted, f"{what}: {got} instead of {wanted}")
