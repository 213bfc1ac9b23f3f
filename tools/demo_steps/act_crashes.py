"""kill -9: a bridging function, the control plane, the redirector."""
import os
import signal
import threading
import time

from lab import check, equal, wait_until

from . import services
from .transfer import LongTransfer, try_connect

PORT = 4300


def bypassing(world, packets):
    """Packets that passed the wan without being between the two proxies, or from and to the orchestrator."""
    proxies = {world.umc_proxy.address, world.research_proxy.address}
    control = {world.orchestrator.address, world.orchestrator.address6}
    return [p for p in packets if p.protocol in (6, 17) and not {p.source, p.destination} <= proxies
            and not {p.source, p.destination} & control]


def function_killed(report, world, control):
    report.section("kill -9 of a bridging function's container")
    capture = world.wan.capture("umc", "tcp or udp")
    transfer = LongTransfer(world.modality, world.pacs, PORT)
    killed = time.monotonic()
    try:
        with report.shows("its flows close with an error at both ends") as line:
            transfer.runs()
            name, pid = control.function_process("umc/umc-proxy", "audit")
            os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            sender, receiver = transfer.expect_cut(killed, 1.0)
            line.say(f"{name}, pid {pid}", f"sender after {sender * 1000:.0f} ms", f"receiver after {receiver * 1000:.0f} ms")
    finally:
        transfer.close()
    with report.shows("new flows are refused until the agent has replaced it, within 5 s, then they work") as line:
        refused = 0
        while (met := _answered(world)) != "open":
            refused += 1
            check(time.monotonic() - killed < 15, f"new connections still meet {met!r} after 15 s")
        took = time.monotonic() - killed
        check(took <= 5.0, f"replaced only after {took:.1f} s")
        line.say(f"{refused} refused", f"back after {took:.1f} s")
    with report.shows("nothing passed around it") as line:
        capture.stop()
        past = bypassing(world, capture.packets())
        check(not past, f"{len(past)} packets passed the proxies by, the first from {past[0].source if past else ''}")
        line.say(f"0 of {len(capture.packets())} packets")


def _answered(world):
    """A new connection with a server behind it that answers one byte."""
    with world.pacs.listen(PORT) as listener:
        def answer():
            try:
                peer, _ = listener.accept()
                with peer:
                    peer.settimeout(5)
                    if peer.recv(1):
                        peer.sendall(b"y")
            except OSError:
                pass
        listener.settimeout(4)
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        met = try_connect(world.modality, world.pacs.address, PORT, timeout=4)
        try:
            listener.shutdown(2)
        except OSError:
            pass
        thread.join(5)
        return met


def control_plane_killed(report, world, control):
    report.section("kill -9 of the orchestrator and of all agents")
    before = control.picture()
    transfer = LongTransfer(world.modality, world.pacs, PORT)
    try:
        transfer.runs()
        with report.shows("the running flow goes on") as line:
            killed = control.kill_all()
            seen = transfer.receiver.bytes
            wait_until(lambda: transfer.receiver.bytes > seen + 20_000_000, lambda: "20 MB more arrive: " + transfer.ends_text())
            line.say(f"{killed} processes killed", f"{(transfer.receiver.bytes - seen) / 1e6:.0f} MB since")
        with report.shows("new flows of granted applications go on") as line:
            services.send_images_or_fail(world.modality, world.pacs.address, world.images[:3])
            equal(len(world.orthanc.instances()), 3, "images in Orthanc")
            line.say("3 images through the chain")
            world.orthanc.clear()
        with report.shows("after the restart the state is the same, and the flow has not noticed") as line:
            control.start_again()
            equal(control.picture(), before, "state of all applications and routes")
            seen = transfer.receiver.bytes
            wait_until(lambda: transfer.receiver.bytes > seen + 5_000_000, lambda: "the flow goes on: " + transfer.ends_text())
            line.say(f"{len(before)} facts compared", f"{transfer.receiver.bytes / 1e6:.0f} MB in all")
    finally:
        transfer.close()


def redirector_killed(report, world, control):
    report.section("kill -9 of the redirector")
    capture = world.wan.capture("umc", "tcp or udp")
    with report.shows("the guarded program is refused, and no packet of it reaches the wan") as line:
        with control.agent_paused("umc/modality"):  # else it would be back before anybody could look
            pid = control.redirector_process("umc/modality")
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not os.path.exists(f"/proc/{pid}") or _is_zombie(pid), "the redirector is dead")
            done = services.send_images(world.modality, world.pacs.address, world.images[:1])
            check(done.returncode != 0, "storescu says that it sent its image")
            met6 = try_connect(world.modality, world.pacs.address6, PORT, timeout=3)
            check(met6 not in ("open", "end"), f"over IPv6 the program met {met6!r}")
            capture.settle()
            modality = {world.modality.address, world.modality.address6}
            leaked = [p for p in capture.packets() if p.source in modality and p.destination != world.orchestrator.address]
            check(not leaked, f"{len(leaked)} packets of the modality reached the wan")
            line.say(f"pid {pid}", f"storescu ended with {done.returncode}", "0 packets")
    with report.shows("the agent brings it back, and images pass again") as line:
        began = time.monotonic()
        wait_until(lambda: services.send_images(world.modality, world.pacs.address, world.images[:1]).returncode == 0,
                   "storescu sends again", within=15)
        line.say(f"after {time.monotonic() - began:.1f} s")
        capture.stop()
        check(not bypassing(world, capture.packets()), "packets passed the proxies by")
        world.orthanc.clear()


def _is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
