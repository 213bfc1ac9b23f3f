"""Encryption by itself: the leg between the proxies in clear, so that only encrypt and decrypt hide anything.

   scanner ─> umc-clear [firewall][audit][encrypt] ═ SOCKS6 in clear ═> research-clear [decrypt][audit] ─> pacs

Two stand-alone proxies, each with a routes.json written by hand, and the functions as plain processes."""
import base64
import os
import re
import subprocess

from lab import Failure, check, epif, equal, wait_until, write_json

from . import images, services
from .act_direct import secrets

FLOW = "leg-in-clear"
NEAR, FAR = ["firewall", "audit", "encrypt"], ["decrypt", "audit"]


def _key(path):
    """Makes a proxy's X25519 key file (base64 of the secret half); returns the public half in base64."""
    def raw(*words, stdin=None):
        return subprocess.run(["openssl", *words], check=True, capture_output=True, input=stdin).stdout
    secret = raw("genpkey", "-algorithm", "X25519", "-outform", "DER")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as out:
        out.write(base64.b64encode(secret[-32:]).decode() + "\n")
    return base64.b64encode(raw("pkey", "-inform", "DER", "-pubout", "-outform", "DER", stdin=secret)[-32:]).decode()


class ClearLeg:
    def __init__(self, world):
        self.world, self.processes, lab = world, [], world.lab
        self.near_key, self.far_key = lab.path("clear", "near.key"), lab.path("clear", "far.key")
        self.near_public, self.far_public = _key(self.near_key), _key(self.far_key)
        self.near_routes, self.far_routes = lab.path("clear", "near-routes.json"), lab.path("clear", "far-routes.json")
        self.write()
        self._functions(world.umc_clear, NEAR)
        self._functions(world.research_clear, FAR)
        self.near = self._proxy(world.umc_clear, self.near_routes, self.near_key)
        self.far = self._proxy(world.research_clear, self.far_routes, self.far_key)
        redirector = world.scanner.start(epif(), "redirect", "--proxy", f"{world.umc_clear.address}:1080", "--capture",
                                         f"{world.pacs.address}:{services.DICOM_PORT}", "--state",
                                         lab.path("clear", "redirect", "x")[:-2], name="redirect")
        self.processes.append(redirector)
        redirector.wait_for_log("captures")
        world.scanner.wait_for_port(15001, process=redirector)

    def _socket(self, host, function):
        return self.world.lab.path("clear", f"{host.name}-{function}.sock")

    def _functions(self, host, names):
        for name in names:
            process = host.start(epif(), "bf", "run", name, "--socket", self._socket(host, name), name=f"bf-{name}")
            process.wait_for(lambda n=name: os.path.exists(self._socket(host, n)), f"{name} listens")
            self.processes.append(process)

    def _proxy(self, host, routes, key):
        process = host.start(epif(), "proxy", "--listen", f"{host.address}:1080", "--routes", routes, "--hpke-key", key,
                             name="proxy", env={"EPIF_LOG": "debug"})
        host.wait_for_port(1080, process=process)
        self.processes.append(process)
        return process

    def _links(self, host, names):
        parameters = {"firewall": {"protocol": "dicom"}}
        return [{"function": n, "instance": n, "socket": self._socket(host, n), "parameters": parameters.get(n, {}),
                 **({"key_pair": "encrypt"} if n in ("encrypt", "decrypt") else {})} for n in names]

    def write(self, near=NEAR, far=FAR, peer_key=None):
        """Writes both tables; the running proxies take them up."""
        world = self.world
        common = {"id": FLOW, "flow": "demo/leg-in-clear", "destination": f"{world.pacs.address}:{services.DICOM_PORT}",
                  "data": "push", "purpose": "research"}
        write_json(self.near_routes, {"routes": [{
            **common, "sources": [world.scanner.address], "chain": self._links(world.umc_clear, near),
            "next": {"proxy": f"{world.research_clear.address}:1080", "public_key": self.far_public}}]})
        write_json(self.far_routes, {"routes": [{
            **common, "sources": [world.umc_clear.address], "peer_keys": {"umc/umc-clear": peer_key or self.near_public},
            "chain": self._links(world.research_clear, far)}]})

    def rewrite(self, **more):
        """Like write, and waits until both proxies have taken the tables up."""
        before = [p.output().count("routes read") for p in (self.near, self.far)]
        self.write(**more)
        for proxy, count in zip((self.near, self.far), before):
            proxy.wait_for(lambda p=proxy, c=count: p.output().count("routes read") > c, "the new routes are read")

    def hashes(self, proxy):
        return re.findall(rf"flow={FLOW} function=audit what=sha256_to_server value=([0-9a-f]{{64}})", proxy.output())

    def close(self):
        for process in reversed(self.processes):
            process.stop()


def act(report, world):
    report.section("Encryption by itself: the leg between the proxies in clear")
    leg = []
    with report.shows("two stand-alone proxies run from hand-written routes.json, without TLS between them") as line:
        leg.append(ClearLeg(world))
        line.say("[firewall][audit][encrypt] = in clear = [decrypt][audit]")
    if not leg:
        return
    leg = leg[0]
    try:
        capture = world.wan.capture("research", "tcp")
        with report.shows("images pass, and the capture of the clear leg holds none of the names") as line:
            services.send_images_or_fail(world.scanner, world.pacs.address, world.images)
            capture.stop()
            check(capture.holds(FLOW), "the leg is not in clear: the flow's id in the SOCKS6 request cannot be read")
            found = [text for text in secrets() if capture.holds(text)]
            check(not found, f"readable: {found}")
            line.say("the SOCKS6 request is readable", f"0 of {len(secrets())} names are")
        with report.shows("Orthanc has them with equal pixels") as line:
            got = images.pixel_hashes(world.orthanc.download(world.lab.path("clear", "images", "x")[:-2]), world.lab.path("scratch", "pixels"))
            line.say(images.compare(got, world.sent_hashes))
        with report.shows("the audit's hash before encrypt equals the one after decrypt") as line:
            wait_until(lambda: leg.hashes(leg.near) and leg.hashes(leg.far), "both audits report", within=5)
            equal(leg.hashes(leg.near), leg.hashes(leg.far), "hashes near and far")
            line.say(f"SHA-256 {leg.hashes(leg.near)[-1][:16]}...")
        with report.shows("the firewall refuses what is not DICOM, although the destination is allowed") as line:
            with world.scanner.connect(world.pacs.address, services.DICOM_PORT) as out:
                out.settimeout(5)
                out.sendall(b"GET / HTTP/1.1\r\n\r\n")
                try:
                    answer = out.recv(1)
                except OSError as error:
                    line.say(type(error).__name__)
                else:
                    raise Failure(f"the connection met {answer!r}, wanted an error")
        with report.shows("a wrong key is refused: no image passes") as line:
            world.orthanc.clear()
            leg.rewrite(peer_key=_key(world.lab.path("clear", "foreign.key")))
            done = services.send_images(world.scanner, world.pacs.address, world.images[:1])
            check(done.returncode != 0, "storescu says that it sent its image")
            equal(len(world.orthanc.instances()), 0, "images in Orthanc")
            reason = [l for l in leg.far.output().splitlines() if "authentic" in l or "bf_cut" in l]
            check(reason, "the far proxy gives no reason; its log ends with\n" + leg.far.tail(4))
            line.say(f"storescu ended with {done.returncode}")
        with report.shows("control: the same leg without the pair shows the names") as line:
            leg.rewrite(near=["firewall", "audit"], far=["audit"])
            capture = world.wan.capture("research", "tcp")
            services.send_images_or_fail(world.scanner, world.pacs.address, world.images)
            capture.stop()
            missing = [text for text in secrets() if not capture.holds(text)]
            check(not missing, f"not readable: {missing}")
            line.say(f"{len(secrets())} of {len(secrets())} names readable")
            world.orthanc.clear()
    finally:
        leg.close()
