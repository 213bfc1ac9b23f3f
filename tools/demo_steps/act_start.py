"""The control plane comes up, takes the resources, and brings the applications to their state step by step."""
import time

from lab import Failure, check, equal

from .control import MEMBERS, Control

STEPS_WANTED = 8


def act(report, world):
    report.section("The control plane: orchestrator, agents, the eight steps")
    control = Control(world)
    with report.shows("the orchestrator makes its authority and serves, over TLS") as line:
        control.init()
        control.start_orchestrator()
        line.say(control.url)
    with report.shows("an agent on each host joins with a token; no host but the orchestrator listens for control") as line:
        control.start_agents()
        line.say(*MEMBERS)
    with report.shows("`epif apply` takes domains, nodes, functions, policies, a consent") as line:
        said = control.apply(*sorted(world.resources.glob("[123]-*.yaml")))
        line.say(f"{len(said.splitlines())} resources")
    for file in ("4-stroke-imaging.yaml", "5-reports.yaml"):
        application = file[2:-5]
        with report.shows(f"{application} is submitted and reaches Running through the eight steps of Fig. 1") as line:
            began = time.monotonic()
            control.client("submit", "-f", world.resources / file, "--wait", timeout=120)
            status = control.wait_running(application)
            equal(len(status["conditions"]), STEPS_WANTED, "steps")
            line.say(f"{time.monotonic() - began:.1f} s")
    if report.failed and not control.process:
        raise Failure("the control plane does not stand")
    with report.shows("every bridging function runs in a container: no network, read-only, no capabilities") as line:
        pids = {}
        for proxy in ("umc/umc-proxy", "research/research-proxy"):
            for function in ("firewall", "audit", "encrypt") if "umc" in proxy else ("decrypt",):
                pids[function] = control.function_process(proxy, function)[1]
        for function, pid in pids.items():
            _confined(function, pid)
        line.say(*pids)
    return control


def _confined(function, pid):
    """Looks from outside at what the kernel says about the process."""
    with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
        devices = [text.split(":")[0].strip() for text in file.readlines()[2:]]
    equal(devices, ["lo"], f"network devices of {function}")
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = dict(text.rstrip("\n").split(":\t", 1) for text in file if ":\t" in text)
    equal(int(status["CapEff"], 16), 0, f"effective capabilities of {function}")
    equal(int(status["CapBnd"], 16), 0, f"bounding capabilities of {function}")
    equal(status["NoNewPrivs"], "1", f"no_new_privs of {function}")
    check(int(status["Uid"].split()[0]) != 0, f"{function} runs as root")
    with open(f"/proc/{pid}/mounts", encoding="ascii") as file:
        root = next(text.split()[3] for text in file if text.split()[1] == "/")
    check("ro" in root.split(","), f"the root of {function} is writable: {root}")


def stop(report, world, control):
    report.section("The clean stop")
    with report.shows("`epif stop` takes an application down") as line:
        for application in ("stroke-imaging", "reports"):
            control.client("stop", application, "--wait")
            line.say(application + " " + control.status(application)["phase"])
    with report.shows("agents and orchestrator end on request") as line:
        codes = control.stop()
        check(all(code == 0 for code in codes.values()), f"exit codes {codes}")
        line.say(f"{len(codes)} programs, exit code 0")
