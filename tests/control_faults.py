#!/usr/bin/python3
"""What an agent cannot do, or cannot know, closes flows and never opens one. Topology in control_world.py."""
import contextlib
import json
import os
import subprocess
import time

from control_world import CONSENT, DOMAINS, Echo, World, application, exchange, refused
from lab import Failure, check, equal, promise, run, wait_until


def running(world):
    """imaging (treatment, port 4242) and study (research with consent, port 8042) run; both servers echo."""
    world.start()
    world.apply(DOMAINS + "---" + CONSENT)
    world.apply(application("imaging", "treatment", 4242) + "---" + application("study", "research", 8042))
    for port in (4242, 8042):
        Echo(world.host("research/pacs"), port)
    for name in ("imaging", "study"):
        world.wait_phase(name, "Running")
    return world


def report(world, node):
    return world.get("assignment", node).get("status", {})


def is_cut(connection, within=5.0):
    """Waits for the error that a cut is; an end or more bytes are none."""
    connection.settimeout(within)
    try:
        got = connection.recv(1)
    except TimeoutError:
        raise Failure("the flow goes on") from None
    except OSError:
        return True
    raise Failure(f"the flow {'goes on' if got else 'ended as if it were complete'}")


@contextlib.contextmanager
def read_only(folder):
    """The folder as it is, but nothing in it can be written by its path."""
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


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


run()
