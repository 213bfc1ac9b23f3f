"""The main job: the same sender, the same PACS, now through firewall, audit, encrypt and decrypt."""
import time

from lab import check

from . import images, services
from .act_direct import secrets


def act(report, world):
    report.section("The main job: images through the chain")
    capture = world.wan.capture("research")
    with report.shows(f"storescu, with no proxy setting, sends {len(world.images)} images through the chain") as line:
        began = time.monotonic()
        services.send_images_or_fail(world.modality, world.pacs.address, world.images)
        line.say(f"{time.monotonic() - began:.1f} s")
    capture.stop()
    with report.shows("they are in Orthanc with equal SHA-256 of the pixel data") as line:
        got = images.pixel_hashes(world.orthanc.download(world.lab.path("chain", "x")[:-2]), world.lab.path("scratch", "pixels"))
        line.say(images.compare(got, world.sent_hashes))
    with report.shows("the wan capture holds no AE title and no patient name") as line:
        packets = capture.packets()
        carried = sum(len(p.payload) for p in packets if p.protocol == 6)
        check(carried > 1_000_000, f"the capture saw only {carried} bytes, so it watched the wrong place")
        found = [text for text in secrets() if capture.holds(text)]
        check(not found, f"readable on the wan: {found}")
        line.say(f"{carried / 1e6:.1f} MB seen", f"0 of {len(secrets())} names readable")
    with report.shows("on the wan only the two proxies speak with each other") as line:
        pacs, modality = {world.pacs.address, world.pacs.address6}, {world.modality.address, world.modality.address6}
        past = [p for p in packets if p.protocol == 6 and ({p.source, p.destination} & pacs) and ({p.source, p.destination} & modality)]
        check(not past, f"{len(past)} packets passed between modality and pacs themselves")
        proxies = {world.umc_proxy.address, world.research_proxy.address}
        check(any({p.source, p.destination} == proxies for p in packets), "no packet between the proxies")
        line.say(f"0 of {len(packets)} packets passed them by")
    world.orthanc.clear()
