"""What is measured: one Step for each measurement, in the order in which competitors take turns."""
import dataclasses

from paper.topology import PAPER


@dataclasses.dataclass(frozen=True)
class Step:
    workload: str
    competitor: str
    topology: str  # name of Table I, or "" for links without delay
    setting: int   # connections, or streams
    round: int

    @property
    def key(self):
        return f"{self.workload}/{self.topology}/{self.competitor}/{self.setting}/{self.round}"


@dataclasses.dataclass(frozen=True)
class Lengths:
    """How long and how often. `paper`: the article's own; `full`: within two hours; `quick`: within five minutes."""
    rounds: int
    requests: int        # of httping
    pause_s: float
    seconds: int         # of wrk
    connections: tuple
    rate_rounds: int
    file_mib: int


LENGTHS = {"paper": Lengths(5, 120, 1.0, 60, (1, 2, 4, 8, 16), 5, 2048),
           "full": Lengths(5, 120, 0.05, 10, (1, 4, 16, 64, 128), 3, 1024),
           "quick": Lengths(1, 20, 0.02, 2, (16,), 1, 256)}

WORKLOADS = ("latency", "rate", "keepalive", "throughput")


def steps(lengths, workloads, topologies, competitors):
    """Competitors take turns inside a round (A B C A B C), so that a slow minute of the machine meets all of them."""
    made = []
    for workload in workloads:
        if workload == "latency":
            for topology in topologies or [t.name for t in PAPER]:
                made += [Step("latency", name, topology, 1, r) for r in range(lengths.rounds) for name in competitors]
        elif workload in ("rate", "keepalive"):
            for connections in lengths.connections:
                made += [Step(workload, name, "", connections, r) for r in range(lengths.rate_rounds) for name in competitors]
        elif workload == "throughput":
            made += [Step("throughput", name, "", 2, r) for r in range(lengths.rate_rounds) for name in competitors]
    return made
