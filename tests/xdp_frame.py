#!/usr/bin/python3
"""Sends one frame by an AF_XDP socket: tests/xdp_frame.py DEVICE HEX. Exits 3 if the kernel refuses the socket, 0 if the
frame was handed over. Frames of such a socket pass no netfilter hook (Documentation/networking/af_xdp.rst)."""
import ctypes
import errno
import mmap
import socket
import struct
import sys

AF_XDP, SOL_XDP = 44, 283
XDP_MMAP_OFFSETS, XDP_TX_RING, XDP_UMEM_REG, XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING = 1, 3, 4, 5, 6
TX_PAGE = 0x80000000
XDP_COPY = 2
RING, FRAME = 64, 4096

_libc = ctypes.CDLL(None, use_errno=True)


def main(device, frame):
    try:
        out = socket.socket(AF_XDP, socket.SOCK_RAW, 0)
    except OSError as error:
        print("socket:", error, file=sys.stderr)
        return 3
    umem = mmap.mmap(-1, RING * FRAME)
    start = ctypes.addressof(ctypes.c_char.from_buffer(umem))
    out.setsockopt(SOL_XDP, XDP_UMEM_REG, struct.pack("QQIIII", start, RING * FRAME, FRAME, 0, 0, 0))
    for ring in (XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_TX_RING):
        out.setsockopt(SOL_XDP, ring, struct.pack("I", RING))
    # Four rings of four offsets each: producer, consumer, descriptors, flags; the second is TX.
    offsets = struct.unpack("16Q", out.getsockopt(SOL_XDP, XDP_MMAP_OFFSETS, 128))
    producer, _, descriptors, _ = offsets[4:8]
    ring = mmap.mmap(out.fileno(), descriptors + RING * 16, offset=TX_PAGE)
    address = struct.pack("HHIII", AF_XDP, XDP_COPY, socket.if_nametoindex(device), 0, 0)
    if _libc.bind(out.fileno(), address, len(address)) != 0:
        print("bind:", errno.errorcode[ctypes.get_errno()], file=sys.stderr)
        return 4
    umem[:len(frame)] = frame
    ring[descriptors:descriptors + 16] = struct.pack("QII", 0, len(frame), 0)
    ring[producer:producer + 4] = struct.pack("I", 1)
    _libc.sendto(out.fileno(), None, 0, socket.MSG_DONTWAIT, None, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], bytes.fromhex(sys.argv[2])))
