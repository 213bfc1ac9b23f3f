"""Before the first act and after the last one."""
import os
import pathlib
import signal
import subprocess
import time

from lab import Failure, epif, remove_leftovers, repository, wait_until

from . import images, leftovers, services
from .world import World  # noqa: F401 - tools/demo makes it from here

PATIENCE_S = 20.0
DRAWING = """
      umc  10.1.0.0/24                              research  10.2.0.0/24
   modality .10 ──┐                                    ┌── pacs .20: Orthanc, nginx, MariaDB
   proxy    .2  ──┴── umc ────┐            ┌── research┴── proxy .2
                             wan (tcpdump)
   backup .30 ───── vendor ───┘            └── control ─── orchestrator .7"""


def remove_earlier(state):
    """What a killed or kept run left: namespaces with their processes, engine storage, files."""
    others = leftovers.running_demos()
    if others:
        raise SystemExit(f"tools/demo: another demo runs already, pid {others[0]}; wait for it, or end it")
    remove_leftovers()
    for pid in leftovers.marked_processes(None):
        _kill(pid)
    destroy_engines(state)
    leftovers.remove_tree(state)


def destroy_engines(state):
    """What agents that were killed could not take down themselves: a container engine has files outside, in /run."""
    for engine in pathlib.Path(state, "agents").glob("*/engine"):
        subprocess.run([epif(), "agent", "--cleanup", "--state", engine.parent], check=False, capture_output=True, timeout=60)


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def build(report, world):
    report.section("The setting")
    print(DRAWING)
    with report.shows("three domains, the wan and the orchestrator's network stand") as line:
        world.build()
        line.say(f"{len(world.lab.nodes)} namespaces")
    with report.shows("unmodified programs run: Orthanc, nginx, MariaDB") as line:
        world.orthanc = services.Orthanc(world.pacs)
        services.start_nginx(world.pacs)
        services.start_mariadb(world.pacs)
        line.say("ports 4242, 8042, 80, 3306")
    with report.shows("20 synthetic DICOM images are made with dcmtk") as line:
        world.images = images.make(world.lab.path("images", "x")[:-2])
        line.say(f"{sum(os.path.getsize(f) for f in world.images) / 1e6:.1f} MB", f"{len(images.PATIENTS)} patients")
    with report.shows("the bridging functions' image has a digest, and the resources name it") as line:
        world.resources = resources(world)
        line.say(f"{len(list(world.resources.iterdir()))} files of examples/demo")
    if report.failed:
        raise Failure("the setting does not stand")


def resources(world):
    """examples/demo with the digest of the image of this build. Returns the folder."""
    image = world.orchestrator.run(epif(), "bf", "image").stdout.strip()
    folder = pathlib.Path(world.lab.path("resources", "x")).parent
    for source in sorted((repository / "examples/demo").glob("*.yaml")):
        (folder / source.name).write_text(source.read_text().replace("@IMAGE@", image))
    return folder


def close(report, world, before, marker, keep_logs):
    """Removes everything, then looks whether anything is left."""
    report.section("The end")
    with report.shows("nothing is left: no namespace, nftables table, container, process, mount, file") as line:
        world.lab.close()
        alone = leftovers.marked_processes(marker)
        for pid in alone:
            _kill(pid)
        wait_until(lambda: not leftovers.marked_processes(marker), "no process of the demo lives", within=10)
        destroy_engines(world.state)
        if not keep_logs:
            leftovers.remove_tree(world.state)
        # Other programs of this machine make files, too (a compiler in /tmp); those go by themselves, ours would stay.
        left = leftovers.difference(before)
        deadline = time.monotonic() + PATIENCE_S
        while left and time.monotonic() < deadline:
            time.sleep(0.2)
            left &= leftovers.difference(before)
        if alone:
            raise Failure("processes outlived their parents: " + "; ".join(alone.values()))
        if left:
            raise Failure("; ".join(sorted(left)))
        line.say("8 kinds compared with the state before")
    if keep_logs:
        print(f"      logs: {os.path.relpath(world.state, repository)}")
