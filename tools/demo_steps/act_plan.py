"""The plan: areas, channels, and a verdict for each flow with its reason."""
import json
import textwrap

from lab import Failure, check, epif, equal

WANTED = {  # flow: verdict, gap, chain
    "send-images": ("bridged", ["audit", "encryption", "firewall"], ["firewall", "audit", "encrypt", "decrypt"]),
    "fetch-reports": ("supported", [], []),
    "profiles": ("denied", ["encryption", "firewall"], []),
    "nightly": ("unfeasible", ["encryption"], []),
}


def _flow(plan, name):
    for flow in plan["flows"]:
        if flow["name"].rpartition("/")[2] == name:
            return flow
    raise Failure(f"the plan says nothing about {name}")


def act(report, world):
    report.section("The plan: what may move, what must be bridged, what cannot")
    plan, text, resources = {}, [], world.resources
    with report.shows("`epif plan` judges all flows") as line:
        done = world.orchestrator.run(epif(), "plan", "-f", resources, "-o", "json", check=False)
        check(done.returncode == 3, f"exit code {done.returncode}, wanted 3 (some are not possible): {done.stderr.strip()}")
        plan.update(json.loads(done.stdout))
        text.append(done.stdout)
        line.say(f"{len(plan['areas'])} areas", f"{len(plan['flows'])} flows", f"unfeasibility ratio {plan['unfeasibility_ratio']:.2f}")
    if not plan:
        return
    with report.shows("nodes with equal attributes form areas") as line:
        areas = {node: area["attributes"] for area in plan["areas"] for node in area["nodes"]}
        equal(areas.get("umc/modality"), ["encryption", "firewall"], "the modality's area")
        equal(areas.get("research/pacs"), [], "the pacs's area")
        line.say(*(f"{{{', '.join(a['attributes']) or '-'}}}: {', '.join(a['nodes'])}" for a in plan["areas"]))
    with report.shows("channels: data may move to where at least the same attributes hold") as line:
        names = [area["nodes"][0] for area in plan["areas"]]
        channels = [(names[c["from"]], names[c["to"]]) for c in plan["channels"]]
        check(("research/pacs", "umc/modality") in channels and ("umc/modality", "research/pacs") not in channels,
              f"channels: {channels}")
        line.say(*(f"{a} => {b}" for a, b in channels))
    for name, (verdict, gap, chain) in WANTED.items():
        with report.shows(f"{name} is {verdict}") as line:
            flow = _flow(plan, name)
            equal(flow["verdict"], verdict, f"verdict of {name} ({flow['reason']})")
            equal(flow["gap"], gap, "gap")
            equal(flow["chain"], chain, "chain")
            if verdict == "unfeasible":
                equal(flow["missing"], ["encryption"], "missing")
            line.say("gap {" + ", ".join(gap) + "}", *(["chain " + " > ".join(chain)] if chain else []))
        report.note(textwrap.fill(_flow(plan, name)["reason"], 112))
    with report.shows("the same input gives the same bytes"):
        again = world.orchestrator.run(epif(), "plan", "-f", resources, "-o", "json", check=False)
        equal(again.stdout, text[0], "second plan")
