"""Table I of the article: RTTs in ms between client, proxy and server. Pure."""
import dataclasses


RTT_MAX_MS = 10_000


@dataclasses.dataclass(frozen=True)
class Topology:
    name: str
    cp: float  # client - proxy
    ps: float  # proxy - server
    cs: float  # client - server

    @property
    def floor(self):
        """Eq. floor of any proxy: a request must travel to the proxy, on to the server, and back."""
        return self.cp + self.ps

    @property
    def in_between(self):
        return abs(self.cp + self.ps - self.cs) < 1e-9

    def text(self):
        return f"{self.name} {self.cp:g}/{self.ps:g}/{self.cs:g}"


PAPER = [Topology("docker1", 5, 5, 10), Topology("docker2", 5, 10, 15), Topology("docker3", 10, 5, 15),
         Topology("docker4", 1, 1, 1), Topology("docker5", 5, 5, 5), Topology("docker6", 10, 10, 10)]


def named(name):
    """A topology of Table I by its name, or "CP/PS/CS" in ms."""
    for topology in PAPER:
        if topology.name == name:
            return topology
    try:
        rtts = [float(part) for part in name.split("/")]
    except ValueError:
        rtts = []
    if len(rtts) != 3 or not all(0 <= rtt <= RTT_MAX_MS for rtt in rtts):
        _unknown(name)
    return Topology("own", *rtts)


def _unknown(name):
    raise SystemExit(f"bench: unknown topology {name!r}: one of {', '.join(t.name for t in PAPER)}, or CP/PS/CS in ms, each from 0 to {RTT_MAX_MS}")


def predicted_ms(method, topology):
    """Eq. 6 to 9 without the processing terms, in ms; None for a method that has no equation in the article."""
    cp, ps, cs = topology.cp, topology.ps, topology.cs
    return {"none": 2 * cs, "nginx": 2 * cp + 2 * ps, "socks5": 4 * cp + 2 * ps, "socks6": 3 * cp + 2 * ps,
            "floor": cp + ps}.get(method)
