"""Delay, loss and rate of a link by `tc netem`, where the kernel has it; bench/link is for where it has not."""
import functools
import subprocess

from lab.names import owned

QUEUE_PACKETS = 100_000  # what is under way, and waits for the rate, is lost beyond that


@functools.cache
def known():
    """True if the kernel takes the discipline, tried in a namespace of its own."""
    netns = owned("netem")
    if subprocess.run(["ip", "netns", "add", netns], capture_output=True).returncode != 0:
        return False
    try:
        return subprocess.run(tc(netns, "lo", 1.0), capture_output=True).returncode == 0
    finally:
        subprocess.run(["ip", "netns", "delete", netns], capture_output=True)


def tc(netns, device, rtt_ms, loss=0.0, rate_mbit=None):
    """The command line that delays what leaves by `device` by half of the RTT, as in the article; `loss`: share of the packets."""
    words = ["tc", "-n", netns, "qdisc", "replace", "dev", device, "root", "netem", "limit", str(QUEUE_PACKETS), "delay", f"{rtt_ms / 2:g}ms"]
    words += ["loss", f"{loss * 100:g}%"] if loss else []
    return words + (["rate", f"{rate_mbit:g}mbit"] if rate_mbit else [])
