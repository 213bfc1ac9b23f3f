"""A raw frame on a device, and whether it arrives at the other end."""
import errno
import itertools
import socket
import struct
import sys

_number = itertools.count(1)


def frame_to(w, device, peer_device, target, mark=None):
    """True if a raw frame with an IPv4 packet to `target`, sent by `device` of the client, is seen on `peer_device` of the gate.
    `mark`: of the sending socket (SO_MARK)."""
    word = f"frame {next(_number)} of {device}.".encode()
    packet = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28 + len(word), 7, 0, 64, 17, 0, socket.inet_aton("10.1.0.10"), socket.inet_aton(target)) \
        + struct.pack(">HHHH", 4000, 9, 8 + len(word), 0) + word
    capture = w.gate.capture(peer_device)
    with w.client.inside():
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with wire:
        if mark is not None:
            wire.setsockopt(socket.SOL_SOCKET, 36, mark.to_bytes(4, sys.byteorder))  # SO_MARK
        try:
            wire.sendto(b"\xff" * 6 + b"\x02" * 6 + b"\x08\x00" + packet, (device, 0x0800))
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOBUFS):
                raise
    return capture.stop().holds(word)
