#!/usr/bin/python3
"""What an agent cannot do, or cannot know, closes flows and never opens one. Topology in control_world.py."""
import json
import os
import shutil
import subprocess
import time

from control_world import API, CONSENT, DOMAINS, Echo, World, application, exchange, is_cut, read_only, refused
from lab import check, epif, equal, promise, run, wait_until


def running(world):
    """imaging (treatment, port 4242) and study (research with consent, port 8042) run; both servers echo."""
    return prepare(world.start())


def prepare(world):
    world.apply(DOMAINS + "---" + CONSENT)
    world.apply(application("imaging", "treatment", 4242) + "---" + application("study", "research", 8042))
    for port in (4242, 8042):
        Echo(world.host("research/pacs"), port)
    for name in ("imaging", "study"):
        world.wait_phase(name, "Running")
    return world


def report(world, node):
    return world.get("assignment", node).get("status", {})


@promise("routes that cannot be written while a consent is revoked stop the proxy that reads the old ones, and the status says why; once they can be written it goes on without the revoked flow")
def unwritable():
    with World("control-unwritable") as world:
        running(world)
        proxy = report(world, "umc/proxy")["processes"][0]["pid"]
        with world.connect(8042) as study, world.connect(4242) as imaging:
            check(exchange(study) and exchange(imaging), "no echo before")
            with read_only(world.state_of("umc/proxy")):
                world.client("delete", "consent", "p-0042")
                accepted = time.monotonic()
                check(is_cut(study), "")
                check(is_cut(imaging), "the proxy with the old routes goes on")
                took = time.monotonic() - accepted
                check(took < 1.0, f"cut after {took:.3f} s")
                print(f"      cut {took * 1000:.0f} ms after the revocation was accepted")
                wait_until(lambda: not os.path.exists(f"/proc/{proxy}"), "the proxy that reads the old routes ends", 1)
                status = wait_until(lambda: report(world, "umc/proxy") if report(world, "umc/proxy").get("errors") else None,
                                    "the agent reports the error", 10)
                check("routes.json" in status["errors"][0] and "ead-only" in status["errors"][0], status["errors"][0])
                equal(status["processes"][0]["state"], "failed", "state of the proxy")
                check("withdrawn" in status["processes"][0]["reason"], status["processes"][0]["reason"])
                check(refused(world, 8042) is not None and refused(world, 4242) is not None, "new flows pass")
        wait_until(lambda: world.talks(4242), "flows pass again", 10)
        check(refused(world, 8042) is not None, "the revoked flow passes")
        wait_until(lambda: not report(world, "umc/proxy")["errors"], "the error is gone", 10)


@promise("a full disk while a consent is revoked cuts the flow within a second, and a file that a crash left half written blocks nothing")
def full_disk():
    with World("control-full") as world:
        folder = world.state_of("umc/proxy")
        os.makedirs(folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=711", "tmpfs", folder], check=True)
        world.lab.at_end(lambda: subprocess.run(["umount", "-l", folder], check=False))
        running(world)
        for name in ("routes.json", "assignment.json"):
            with open(f"{folder}/{name}.new.1", "w", encoding="ascii") as left:
                left.write("half")
        with world.connect(8042) as study:
            check(exchange(study), "no echo before")
            fill = f"{folder}/fill"
            try:
                with open(fill, "wb", buffering=0) as out:
                    while out.write(b"x" * 4096):
                        pass
            except OSError:
                pass
            world.client("delete", "consent", "p-0042")
            accepted = time.monotonic()
            check(is_cut(study), "")
            took = time.monotonic() - accepted
            check(took < 1.0, f"cut after {took:.3f} s")
            check(refused(world, 8042) is not None, "the revoked flow passes")
            os.unlink(fill)
        wait_until(lambda: world.talks(4242), "the other flow passes again", 10)
        check(refused(world, 8042) is not None, "the revoked flow passes")
        world.agents["umc/proxy"].kill()
        world.start_agent("umc/proxy").wait_for_log("connected to the orchestrator", within=20)
        check(not [name for name in os.listdir(folder) if ".new." in name], f"half files stay: {os.listdir(folder)}")
        check(world.talks(4242) and refused(world, 8042) is not None, "the restart changed what passes")


def captures(world):
    """The addresses that the modality's rules hold."""
    return "10.2.0.10" in world.host("umc/modality").run("nft", "list", "ruleset").stdout


@promise("an orchestrator that comes back with an empty store takes nothing away: rules and flows stay, the agents say why; with its own store again all is as before")
def empty_store():
    with World("control-empty") as world:
        running(world)
        database = f"{world.folder}/epif.db"
        with world.connect(4242) as held:
            check(exchange(held), "no echo before")
            world.orchestrator_process.stop()
            for end in ("", "-wal", "-shm"):
                if os.path.exists(database + end):
                    os.rename(database + end, database + end + ".kept")
            world.start_orchestrator()
            for node, agent in world.agents.items():
                wait_until(lambda: "another store" in agent.output(), f"the agent of {node} says what is wrong", 20)
            check(exchange(held) and world.talks(4242) and world.talks(8042), "flows were cut")
            check(captures(world), "the modality's rules are gone")
            world.agents["umc/modality"].kill()
            world.start_agent("umc/modality").wait_for_log("another store", within=20)
            check(captures(world) and exchange(held) and world.talks(4242), "a restarted agent took everything down")
            world.orchestrator_process.stop()
            for end in ("", "-wal", "-shm"):
                if os.path.exists(database + end + ".kept"):
                    os.replace(database + end + ".kept", database + end)
                elif os.path.exists(database + end):
                    os.unlink(database + end)
            world.start_orchestrator()
            world.client("delete", "consent", "p-0042")
            wait_until(lambda: refused(world, 8042) is not None, "a revocation counts again", 20)
            check(exchange(held), "the other flow was touched")
        wait_until(lambda: not any(report(world, node)["errors"] for node in world.agents), "no agent reports an error", 20)


@promise("under a new orchestrator a host keeps its rules; with --rejoin it keeps them until that one assigns something")
def rejoin():
    with World("control-rejoin") as world:
        running(world)
        agent = world.agents["umc/modality"]
        world.orchestrator_process.stop()
        os.rename(world.folder, world.folder + ".old")
        world.init().start_orchestrator()
        wait_until(lambda: "cannot be reached" in agent.output(), "the agent notices", 20)
        check(world.talks(4242) and captures(world), "the strange orchestrator took something away")
        agent.kill()
        rejoined = world.host("umc/modality").start(epif(), "agent", "--orchestrator", API, "--node", "umc/modality", "--rejoin", "--token-file",
                                                    world.token_file, "--state", world.state_of("umc/modality"), name="agent-again")
        world.agents["umc/modality"] = rejoined
        rejoined.wait_for_log("does not know umc/modality", within=20)
        # More than stood ready: each is with the certificate that the proxies know.
        check(all(world.talks(4242) for _ in range(40)) and captures(world), "joining again took something away")
        world.apply(DOMAINS)
        wait_until(lambda: refused(world, 4242) is not None, "the new orchestrator's word counts", 20)
        wait_until(lambda: report(world, "umc/modality").get("generation"), "it is confirmed", 20)
        equal(report(world, "umc/modality")["errors"], [], "errors")


@promise("an agent that crashed between its assignment and its routes brings back no withdrawn route, with the orchestrator dead as well")
def crash_between():
    with World("control-between") as world:
        running(world)
        routes = f"{world.state_of('umc/modality')}/routes.json"
        with open(routes, encoding="utf-8") as before:
            old = before.read()
        world.client("delete", "consent", "p-0042")
        wait_until(lambda: refused(world, 8042), "the revocation has arrived", 10)
        wait_until(lambda: "study/send" not in json.dumps(json.load(open(routes, encoding="utf-8"))["routes"]), "it is written", 5)
        world.agents["umc/modality"].kill()
        world.orchestrator_process.kill()
        # What the disk holds if the agent dies after its first write: the new assignment, the old routes.
        with open(routes + ".test", "w", encoding="utf-8") as out:
            out.write(old)
        os.rename(routes + ".test", routes)
        agent = world.start_agent("umc/modality")
        agent.wait_for_log("goes on with what was assigned before", within=20)
        wait_until(lambda: "study/send" not in json.dumps(json.load(open(routes, encoding="utf-8"))["routes"]), "the old routes are replaced", 5)
        check(refused(world, 8042) is not None, "the withdrawn route is back")
        wait_until(lambda: world.talks(4242), "the other flow passes", 10)


@promise("a denied flow inside of one domain is captured and refused; a granted one reaches its server")
def inside():
    with World("control-inside") as world:
        archive = world.lab.node("archive")
        world.lab.link(archive, "10.1.0.11/24", world.hosts["umc"])
        archive.route("default", "10.1.0.1")
        for port in (80, 81):
            Echo(archive, port)
        running(world)
        capture = archive.capture("umc", "tcp port 80")
        node = "---\napiVersion: epif/v1\nkind: Node\nmetadata: {name: archive, domain: umc}\nspec: {addresses: [10.1.0.11]}\n---"
        flow = application("ads", "marketing", 80) + "---" + application("care", "treatment", 81)
        world.apply(node + flow.replace("research/pacs", "umc/archive"))
        world.wait_phase("ads", "Denied")
        world.wait_phase("care", "Running")
        rules = lambda: world.host("umc/modality").run("nft", "list", "ruleset").stdout
        wait_until(lambda: "10.1.0.11" in rules(), "the redirector captures it", 10)

        def outcome(port):
            try:
                with world.host("umc/modality").connect("10.1.0.11", port, 5.0) as out:
                    out.settimeout(5)
                    return exchange(out)
            except OSError as error:
                return type(error).__name__

        check(outcome(80) in ("ConnectionResetError", "ConnectionRefusedError"), f"the denied flow: {outcome(80)}")
        equal(outcome(81), True, "the granted flow")
        equal(len(capture.stop().packets()), 0, "packets of the denied flow at its server")


@promise("a restored backup of the store takes nothing away, however far its revisions climb")
def restored_backup():
    with World("control-backup") as world:
        world.init().start_orchestrator()
        database = f"{world.folder}/epif.db"
        world.orchestrator_process.stop()
        for end in ("", "-wal"):
            if os.path.exists(database + end):
                shutil.copyfile(database + end, database + end + ".kept")
        world.start_orchestrator().start_agents()
        prepare(world)
        agent = world.agents["umc/modality"]
        with world.connect(4242) as held:
            check(exchange(held), "no echo before")
            world.orchestrator_process.stop()
            for end in ("", "-wal", "-shm"):
                if os.path.exists(database + end):
                    os.unlink(database + end)
                if os.path.exists(database + end + ".kept"):
                    os.rename(database + end + ".kept", database + end)
            world.start_orchestrator()
            wait_until(lambda: "does not know umc/modality" in agent.output(), "the agent says what is wrong", 20)
            for number in range(4):  # 200 writes of resources that are of no concern
                world.apply("---".join(f"\napiVersion: epif/v1\nkind: Domain\nmetadata: {{name: d{number}-{one}}}\nspec: {{}}\n" for one in range(50)))
            agent.kill()
            world.start_agent("umc/modality").wait_for_log("does not know umc/modality", within=20)
            check(captures(world) and exchange(held) and world.talks(4242), "the restored store took something away")


@promise("processes of an earlier run whose assignment is lost are stopped, and their capture rules stay and refuse; with an assignment all is as before")
def lost_assignment():
    with World("control-lost") as world:
        running(world)
        for number, node in enumerate(("umc/proxy", "umc/modality")):
            pid = report(world, node)["processes"][0]["pid"]
            world.agents[node].kill()
            world.orchestrator_process.kill()
            saved = f"{world.state_of(node)}/assignment.json"
            if number == 0:
                os.unlink(saved)
            else:
                with open(saved, "w", encoding="ascii") as out:
                    out.write("half")
            world.start_agent(node).wait_for_log("what an earlier run left is stopped", within=20)
            wait_until(lambda: not os.path.exists(f"/proc/{pid}"), f"the process of {node} ends", 5)
            wait_until(lambda: not os.path.exists(f"{world.state_of(node)}/routes.json"), "the routes are removed", 5)
            check(captures(world) and refused(world, 4242) is not None, "flows pass without an assignment")
            world.start_orchestrator()
            wait_until(lambda: world.talks(4242), "flows pass again", 20)
            wait_until(lambda: report(world, node)["processes"][0]["pid"] not in (0, pid), "it is reported", 10)


@promise("--rejoin left in a unit: with the orchestrator dead the agent goes on as the member that it is; the folder says which node it is")
def rejoin_left():
    with World("control-rejoin-left") as world:
        running(world)
        membership = f"{world.state_of('umc/modality')}/membership/node.crt"
        with open(membership, encoding="ascii") as file:
            before = file.read()

        def start(*more):
            world.agents["umc/modality"].kill()
            agent = world.host("umc/modality").start(epif(), "agent", "--orchestrator", API, "--rejoin", "--token-file", world.token_file,
                                                     "--state", world.state_of("umc/modality"), *more, name="agent-left")
            world.agents["umc/modality"] = agent
            return agent

        start().wait_for_log("connected to the orchestrator", within=20)
        world.orchestrator_process.kill()
        start().wait_for_log("goes on with what was assigned before", within=20)
        check(captures(world) and world.talks(4242), "flows stopped")
        with open(membership, encoding="ascii") as file:
            equal(file.read(), before, "certificate")
        check(start("--node", "umc/other").wait(10) != 0, "another node took the folder")
        check(captures(world) and world.talks(4242), "flows stopped")
        world.start_orchestrator()
        start().wait_for_log("connected to the orchestrator", within=20)
        world.client("delete", "consent", "p-0042")
        wait_until(lambda: refused(world, 8042) is not None, "a revocation counts", 20)


@promise("a node whose removal the agent hears is taken down, and if the agent crashes in that, by its next run with the orchestrator dead")
def removed():
    with World("control-removed") as world:
        running(world)
        state = world.state_of("umc/modality")
        agent = world.agents["umc/modality"]
        agent.kill()
        world.orchestrator_process.kill()
        # What the disk holds if the agent dies right after it noted the removal.
        os.rename(f"{state}/assignment.json", f"{world.lab.state}/kept")
        with open(f"{state}/removed", "w", encoding="ascii"):
            pass
        check(captures(world), "no rules to begin with")
        agent = world.start_agent("umc/modality")
        agent.wait_for_log("everything was taken down", within=20)
        check(not captures(world), "rules stay")
        check(not {"removed", "routes.json", "redirect"} & set(os.listdir(state)), f"left: {os.listdir(state)}")
        world.start_orchestrator()
        wait_until(lambda: world.talks(4242) and captures(world), "the node's assignment counts again", 20)
        remove(world)
        wait_until(lambda: agent.output().count("everything was taken down") == 2, "the removal is heard", 20)
        check(not captures(world), "rules stay")


def remove(world):
    for kind, name in (("application", "imaging"), ("application", "study"), ("node", "umc/modality")):
        world.client("delete", kind, name)


@promise("a node that was removed while its agent was away is taken down when the agent is back; added again, it is as before")
def removed_meanwhile():
    with World("control-away") as world:
        running(world)
        world.agents["umc/modality"].kill()
        remove(world)
        wait_until(lambda: world.get("assignment", "umc/modality")["spec"].get("role") == "removed", "the orchestrator notes the removal", 20)
        check(captures(world), "the rules went without a word")
        agent = world.start_agent("umc/modality")
        agent.wait_for_log("everything was taken down", within=20)
        check(not captures(world), "rules stay")
        check(not {"removed", "routes.json", "redirect"} & set(os.listdir(world.state_of("umc/modality"))), "something is left")
        world.apply(DOMAINS)
        world.apply(application("imaging", "treatment", 4242))
        world.wait_phase("imaging", "Running")
        check(world.talks(4242) and captures(world), "the node was added again")


run()
