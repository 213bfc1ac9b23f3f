"""The planner alone, on one core: from resources to areas, and a verdict for each node; a million nodes are for longer runs."""
from campaign import Step

from .google_benchmark import measured, program

TITLE = "Planner"
PLACE = 36
SETTING = "nodes"
COLUMNS = {"ms": "ms"}
ALONE = True
NOTE = "64 attributes, 32 functions, 100 domains. All nodes different: as many areas as nodes, the worst case; else 32 areas, up to 992 gaps."
TITLES = {"landscape_of_nodes": "areas and inner form, 32 areas", "group_all_different": "areas, all nodes different",
          "verdict_for_each_node": "a verdict for each node"}
SIZES = {"quick": (1_000, 10_000, 100_000), "full": (1_000, 10_000, 100_000, 1_000_000), "paper": (1_000, 10_000, 100_000, 1_000_000)}
ROUNDS = {"quick": 1, "full": 3, "paper": 5}


def steps(lengths, topologies, competitors):
    if "epif" not in competitors:
        return []
    return [Step("planner", name, "", nodes, r) for r in range(ROUNDS[lengths.kind]) for nodes in SIZES[lengths.kind] for name in TITLES]


def seconds(step, lengths):
    return 5 * step.setting / 1_000_000  # it makes its input, and is timed for a few turns


def once(world, rival, step, lengths):
    found = measured(program("planner", "planner_bench"), f"^{step.competitor}/{step.setting}$", 0.01)
    return {"ms": found["real_time"], "cpu_ms": found["cpu_time"]}
