"""Reads what tcpdump writes: Ethernet and "any" (SLL, SLL2) captures."""
import collections
import ipaddress
import os
import struct

_LINK_HEADERS = {1: (14, 12), 113: (16, 14), 276: (20, 0)}  # link type: length, place of the ethertype

Packet = collections.namedtuple("Packet", "time ethertype protocol source source_port destination destination_port "
                                          "sequence flags payload data")


def tail(path, size):
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - size))
        return file.read()


def _parse(time, link, data):
    length, place = _LINK_HEADERS[link]
    ethertype = int.from_bytes(data[place:place + 2], "big")
    ip, protocol, source, destination, body = data[length:], None, None, None, b""
    if ethertype == 0x0800 and len(ip) >= 20:
        protocol, source, destination = ip[9], ip[12:16], ip[16:20]
        total = int.from_bytes(ip[2:4], "big") or len(ip)  # 0: segmentation offload of a large packet
        body = ip[(ip[0] & 15) * 4:total]
    elif ethertype == 0x86DD and len(ip) >= 40:
        protocol, source, destination = ip[6], ip[8:24], ip[24:40]
        body = ip[40:40 + (int.from_bytes(ip[4:6], "big") or len(ip))]
    ports, sequence, flags, payload = (None, None), None, 0, body
    if protocol == 6 and len(body) >= 20:
        ports, sequence, flags = struct.unpack("!HH", body[:4]), int.from_bytes(body[4:8], "big"), body[13]
        payload = body[(body[12] >> 4) * 4:]
    elif protocol == 17 and len(body) >= 8:
        ports, payload = struct.unpack("!HH", body[:4]), body[8:]
    text = [str(ipaddress.ip_address(a)) if a else None for a in (source, destination)]
    return Packet(time, ethertype, protocol, text[0], ports[0], text[1], ports[1], sequence, flags, payload, data)


def read(path):
    """All complete packets of the file."""
    with open(path, "rb") as file:
        raw = file.read()
    order = "<" if raw[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    link = struct.unpack(order + "I", raw[20:24])[0] & 0x0FFFFFFF
    packets, at = [], 24
    while at + 16 <= len(raw):
        seconds, fraction, kept, _ = struct.unpack(order + "IIII", raw[at:at + 16])
        if at + 16 + kept > len(raw):
            break
        packets.append(_parse(seconds + fraction / 1e6, link, raw[at + 16:at + 16 + kept]))
        at += 16 + kept
    return packets


def streams(packets):
    """Payload of each TCP direction in the order of its sequence numbers: {(source, port, destination, port): bytes}."""
    parts = collections.defaultdict(dict)
    for p in packets:
        if p.protocol == 6 and p.payload:
            key = (p.source, p.source_port, p.destination, p.destination_port)
            parts[key].setdefault(p.sequence, p.payload)
    return {key: b"".join(by[s] for s in sorted(by, key=lambda s, first=min(by): (s - first) & 0xFFFFFFFF))
            for key, by in parts.items()}
