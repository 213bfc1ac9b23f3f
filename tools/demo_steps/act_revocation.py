"""Consent revoked in the middle of a long transfer."""
import time

from lab import check, wait_until

from .transfer import Download, LongTransfer, try_connect

PORT = 4300


def act(report, world, control):
    report.section("Consent revoked during a long transfer (wan limited to 200 Mbit/s)")
    world.limit_wan()
    other = Download(world.modality, world.pacs.address)
    transfer = LongTransfer(world.modality, world.pacs, PORT)
    try:
        with report.shows("a long series is on its way, and an unrelated download beside it") as line:
            transfer.runs()
            other.untouched()
            line.say(f"{transfer.receiver.bytes / 1e6:.0f} MB so far")
        with report.shows("both ends see an error, not an end, within 1 s of the revocation") as line:
            revoked = time.monotonic()
            control.delete("consent", "p-0042")
            sender, receiver = transfer.expect_cut(revoked, 1.0)
            line.say(f"sender {transfer.sender.manner} after {sender * 1000:.0f} ms",
                     f"receiver {transfer.receiver.manner} after {receiver * 1000:.0f} ms")
    finally:
        transfer.close()
    with report.shows("a new connection is refused") as line:
        with world.pacs.listen(PORT):
            line.say(met := try_connect(world.modality, world.pacs.address, PORT))
            check(met not in ("open", "end"), f"a new connection met {met!r}")
    with report.shows("`epif explain` gives the reason") as line:
        said = wait_until(lambda: next((text for text in [control.explain("stroke-imaging", "long-series")] if "consent" in text), None),
                          lambda: "the reason names the consent; it says: " + control.explain("stroke-imaging", "long-series"))
        line.say(control.reason(said))
    with report.shows("the unrelated transfer is untouched"):
        other.untouched()
    other.process.stop()
    with report.shows("consent given again: the application runs again"):
        control.apply(world.resources / "3-policies.yaml")
        control.wait_running("stroke-imaging")
