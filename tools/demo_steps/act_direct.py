"""The positive control: without the chain, the capture holds every name that it must not hold later."""
from lab import check

from . import images, services


def secrets():
    """What must never be readable on the wan."""
    return [services.CALLING_TITLE, services.CALLED_TITLE, *images.PATIENTS]


def act(report, world):
    report.section("Without epif: what anybody on the way can read (positive control)")
    with report.shows("storescu sends 20 images straight to Orthanc, and the wan capture holds AE titles and patient names") as line:
        capture = world.wan.capture("research", "tcp")
        services.send_images_or_fail(world.modality, world.pacs.address, world.images)
        capture.stop()
        missing = [text for text in secrets() if not capture.holds(text)]
        check(not missing, f"the capture lacks {missing}, so a later absence would prove nothing")
        check(len(world.orthanc.instances()) == len(world.images), "not all images arrived")
        line.say(f"{len(capture.packets())} packets", f"{len(secrets())} of {len(secrets())} names readable")
    with report.shows("Orthanc returns the pixels that were sent") as line:
        sent = images.pixel_hashes(world.images, world.lab.path("scratch", "pixels"))
        got = images.pixel_hashes(world.orthanc.download(world.lab.path("direct", "x")[:-2]), world.lab.path("scratch", "pixels"))
        check(sent == got, "pixel hashes differ")
        check(len(set(sent.values())) == len(world.images), "two images have equal pixels")
        line.say(f"{len(sent)} distinct SHA-256")
    world.orthanc.clear()
    world.sent_hashes = sent
