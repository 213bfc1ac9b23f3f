"""tcpdump that is known to run before the act and to have seen all of it after."""
import os
import re
import signal
import socket

from . import pcap
from .promise import Failure
from .wait import wait_until

_EXPERIMENTAL = 0x88B5  # IEEE 802 local experimental ethertype: carries our end marks, never real traffic


class Capture:
    """Made by Node.capture. Reads come after stop(), or after settle() while it goes on."""

    def __init__(self, node, interface, expression):
        self.node, self.interface, self._marks = node, interface, 0
        serial = len(node.lab.processes)
        self.file = node.lab.path(f"{node.name}-{interface}-{serial}.pcap")
        wanted = f"({expression}) or ether proto {_EXPERIMENTAL}" if expression else ""
        self._process = node.start("tcpdump", "-i", interface, "-n", "-U", "-s", "0", "-B", "65536", "--immediate-mode",
                                   "-Z", "root", "-w", self.file, *([wanted] if wanted else []),
                                   name=f"tcpdump-{interface}-{serial}")
        self._process.wait_for_log("listening on")
        wait_until(lambda: os.path.exists(self.file) and os.path.getsize(self.file) >= 24, "tcpdump has written its header")

    def settle(self):
        """All that passed before this call is in the file when it returns: a frame of ours marks the place."""
        self._marks += 1
        mark = f"end mark {os.getpid()}.{id(self)}.{self._marks}".encode().ljust(64, b".")
        device = "lo" if self.interface == "any" else self.interface
        with self.node.inside():
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with wire:
            wire.bind((device, 0))
            wire.send(b"\x02" + b"\0" * 11 + _EXPERIMENTAL.to_bytes(2, "big") + mark)
        self._process.wait_for(lambda: mark in pcap.tail(self.file, 1 << 20), "the capture holds its end mark")
        return self

    def stop(self):
        """Ends the capture; fails if the kernel dropped a packet, since then nothing could be concluded."""
        if self._process.alive():
            self.settle()
            self._process.signal(signal.SIGINT)
            self._process.wait()
        dropped = re.search(r"(\d+) packets dropped by kernel", self._process.output())
        if dropped and int(dropped[1]) > 0:
            raise Failure(f"the capture on {self.node.name} lost {dropped[1]} packets, so it proves nothing")
        return self

    def packets(self):
        """The captured packets: pcap.Packet without our end marks."""
        return [p for p in pcap.read(self.file) if p.ethertype != _EXPERIMENTAL]

    def holds(self, text):
        """True if the bytes stand in a packet, or run over the packets of one TCP stream."""
        text = text.encode() if isinstance(text, str) else text
        packets = self.packets()
        return any(text in p.data for p in packets) or any(text in s for s in pcap.streams(packets).values())
