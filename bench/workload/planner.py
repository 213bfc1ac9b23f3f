"""The planner alone, on one core: from resources to areas, and a verdict for each node; a million nodes are for longer runs."""
import json
import os
import subprocess

from campaign import Step
from world import Unfit, epif

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


def program():
    """planner_bench of the build, or beside the program."""
    folder = os.path.dirname(epif())
    paths = [os.path.join(folder, *words) for words in (("bench", "planner", "planner_bench"), ("planner_bench",))]
    return next((path for path in paths if os.access(path, os.X_OK)), "")


def once(world, rival, step, lengths):
    if not program():
        raise Unfit("planner_bench is not built; `make bench` builds it")
    done = subprocess.run([program(), f"--benchmark_filter=^{step.competitor}/{step.setting}$", "--benchmark_format=json",
                           "--benchmark_min_time=0.01"], capture_output=True, text=True, timeout=300)
    try:
        found = json.loads(done.stdout)["benchmarks"]
    except (ValueError, KeyError):
        found = []
    if not found:
        raise Unfit(f"planner_bench: {(done.stderr or done.stdout).strip()[-200:]}")
    return {"ms": found[0]["real_time"], "cpu_ms": found[0]["cpu_time"]}
