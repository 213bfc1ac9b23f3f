#!/usr/bin/python3
"""client ── gate ── server and proxy: start, stop, renewal, failed starts, devices that come and go."""
import os
import shutil
import socket
import ssl
import threading
import time

from lab import check, epif, equal, promise, repository, run, wait_until
from redirect_guard_frames import frame_to
from redirect_world import Service, World, certificates, echo, greet, is_refused, read_all

TARGET = "10.2.0.20"


def stalled(w):
    """From here on connections to the proxy hang, as to a host that is down."""
    w.gate.ip("route", "add", "blackhole", "10.3.0.30/32")


@promise("a stop takes less than a second while connections to a dead proxy are being made")
def quick_stop():
    for flags in ([], ["--warm", "0"], ["--fast-open"]):
        with World("quickstop") as w:
            stalled(w)
            redirector = w.redirect("--capture", TARGET, *flags)
            waiting = [w.client.connect(TARGET, 7001) for _ in range(20)]
            wait_until(lambda: w.metric("connections_active") == 20, "the connections wait for the proxy")
            started = time.monotonic()
            equal(redirector.stop(), 0, "exit code")
            check(time.monotonic() - started < 1.0, f"the stop took {time.monotonic() - started:.1f} s with {flags}")
            for out in waiting:
                out.close()


@promise("a renewed certificate is shown without a restart, and a key that does not fit changes nothing")
def renewed():
    with World("renewed", proxy=False) as w, Service(w.server, 7001, greet):
        made, ca = certificates(w.lab, "umc/node", "umc/other", "umc/proxy")
        proxy_cert, proxy_key = made["umc/proxy"]
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
        context.load_cert_chain(proxy_cert, proxy_key)
        context.verify_mode = ssl.CERT_REQUIRED
        shown = []

        def look(peer):
            with context.wrap_socket(peer, server_side=True) as secure:
                shown.append(dict(secure.getpeercert())["subjectAltName"][0][1])
                secure.recv(1)
        cert, key = w.lab.path("own.pem"), w.lab.path("own.key")
        shutil.copy(made["umc/node"][0], cert)
        shutil.copy(made["umc/node"][1], key)
        with Service(w.proxy_node, 1083, look):
            redirector = w.redirect("--cert", cert, "--key", key, "--ca", ca, "--capture", TARGET, "--warm", "1", "--threads", "1",
                                    proxy="10.3.0.30:1083")
            wait_until(lambda: shown == ["epif://umc/node"], "a warm connection shows the certificate")
            for new, old in zip(made["umc/other"], (cert, key)):
                shutil.copy(new, old + ".new")
                os.replace(old + ".new", old)
            wait_until(lambda: "epif://umc/other" in shown, "a warm connection shows the renewed certificate")
            with open(key, "w", encoding="ascii") as file:
                file.write("not a key")
            redirector.wait_for_log("stays in use")
            check(redirector.alive(), "a bad key ended the redirector")


@promise("a start that fails keeps the guard of a redirector that was killed")
def failed_start():
    with World("failedstart") as w:
        w.redirect("--capture", TARGET).kill()
        rules = w.ruleset()
        bad = w.lab.path("bad.json")
        with open(bad, "w", encoding="ascii") as file:
            file.write('{"routes": 5}')
        for flags in (["--routes", bad], ["--proxy", "10.3.0.30:1080", "--capture", "10.9.9.9", "--admin", "unix:/no/such/folder/socket"],
                      ["--proxy", "10.3.0.30:1080", "--capture", "10.9.9.9", "--exec-user", "nobody-of-that-name", "--exec", "true"]):
            failed = w.client.run(epif(), "redirect", *flags, "--state", w.lab.state, check=False)
            equal(failed.returncode, 1, f"exit code of {flags}")
            check("epif_redirect_15001" in w.ruleset() and TARGET in w.ruleset(), f"the guard went with {flags}: {failed.stderr}")
        check(rules.count("jump target") <= w.ruleset().count("jump target"), "a target was forgotten")
        check(is_refused(w.client, TARGET, 80), "a connection got through")


@promise("--shut of one that was killed is done although another redirector runs, and is refused for that one")
def shut_beside():
    with World("shutbeside") as w:
        w.redirect("--capture", TARGET)
        other = w.lab.path("other", "")
        killed = w.client.start(epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", "10.9.9.9", "--listen-port", "15002", "--state", other)
        killed.wait_for_log("captures")
        killed.kill()
        done = w.client.run(epif(), "redirect", "--shut", "--state", other, check=False)
        equal(done.returncode, 0, f"exit code of the killed one's: {done.stderr}")
        check("epif_redirect_15002" in w.ruleset(), "its guard went")
        busy = w.client.run(epif(), "redirect", "--shut", "--state", w.lab.state, check=False)
        check(busy.returncode == 1 and "another redirector runs" in busy.stderr, f"the running one's: {busy.returncode} {busy.stderr}")


@promise("a device that is replaced under its old name is guarded again")
def replaced_device():
    with World("replaced", proxy=False) as w:
        def make():
            w.client.ip("link", "add", "again", "type", "veth", "peer", "name", "again-peer", "netns", w.gate.netns)
            w.client.ip("link", "set", "again", "up")
            w.gate.ip("link", "set", "again-peer", "up")

        def guarded():
            return '"again"' in w.ruleset() or " again" in w.ruleset()
        make()
        w.redirect("--capture", TARGET)
        for number in range(3):
            w.client.ip("link", "del", "again")
            make()
            wait_until(guarded, "the device is in the guard")
            # The rule names the device; whether it is hooked to the new one shows on the wire.
            wait_until(lambda: not frame_to(w, "again", "again-peer", TARGET), f"frames of device {number} are dropped")
            check(frame_to(w, "again", "again-peer", "10.2.0.21"), "control: a frame to an open destination is not seen")


@promise("300 devices are guarded, the first and the last")
def many_devices():
    with World("devices", proxy=False) as w:
        batch = "".join(f"link add d{i} type veth peer name e{i}\n" for i in range(150))
        w.client.run("sh", "-c", 'printf "%s" "$0" | ip -batch -', batch)
        w.client.ip("link", "add", "zlast", "type", "veth", "peer", "name", "zlast-peer", "netns", w.gate.netns)
        w.client.ip("link", "set", "zlast", "up")
        w.gate.ip("link", "set", "zlast-peer", "up")
        check(frame_to(w, "zlast", "zlast-peer", TARGET), "control: a frame is not seen without rules")
        w.redirect("--capture", TARGET)
        check('"d0"' in w.ruleset() or "d0," in w.ruleset(), "the first device is not in the guard")
        check(not frame_to(w, "zlast", "zlast-peer", TARGET), "a frame left by the last device")


@promise("over TLS nothing is lost when one side closes while the other still sends")
def unread():
    with World("unread", proxy=False) as w:
        made, ca = certificates(w.lab, "umc/node", "umc/proxy")
        cert, key = made["umc/proxy"]
        w.start_proxy("--listen", "127.0.0.1:1080", "--allow-all", "--tls-listen", "10.3.0.30:1083", "--cert", cert, "--key", key,
                      "--ca", ca, port=1083)
        cert, key = made["umc/node"]
        w.redirect("--cert", cert, "--key", key, "--ca", ca, "--capture", TARGET, proxy="10.3.0.30:1083")
        size, heard = 400_000, []

        def end_first(peer):  # ends its side at once, and reads on slowly
            peer.sendall(b"bye")
            peer.shutdown(socket.SHUT_WR)
            heard.append(len(read_all(peer, size + 1)))

        def send_last(peer):  # hears the client's end, then answers
            while peer.recv(65536):
                pass
            peer.sendall(b"a" * size)
        with Service(w.server, 7001, end_first), Service(w.server, 7002, send_last):
            for _ in range(15):
                with w.client.connect(TARGET, 7001) as out:
                    out.sendall(b"x" * size)
                    equal(read_all(out, 10), b"bye", "the server's words")
                with w.client.connect(TARGET, 7002) as out:
                    out.sendall(b"y" * size)
                    out.shutdown(socket.SHUT_WR)
                    equal(len(read_all(out, size + 1)), size, "bytes after the client's end")
            wait_until(lambda: heard == [size] * 15, lambda: f"the server got all of each upload, saw {heard}")


@promise("--exec keeps its command from AF_XDP sockets, whose frames no guard sees")
def packet_bypass():
    with World("xdp", proxy=False) as w:
        sender = str(repository / "tests/xdp_frame.py")
        frame = "ffffffffffff0202020202020800" + b"AF_XDP went past the guard, see".hex()
        device = "gate"
        wire = w.gate.capture("client")
        equal(w.client.run("/usr/bin/python3", sender, device, frame, check=False).returncode, 0, "exit code without --exec")
        wire.stop()
        check(wire.holds("AF_XDP went past"), "control: the frame is not seen without --exec")
        wire = w.gate.capture("client")
        done = w.client.run(epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET, "--state", w.lab.state, "--exec",
                            "/usr/bin/python3", sender, device, frame, check=False)
        equal(done.returncode, 3, f"exit code under --exec: {done.stderr}")
        check(not wire.stop().holds("AF_XDP went past"), "the frame left")
        uring = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); libc.syscall(425, 1, 0); print(ctypes.get_errno())"
        done = w.client.run(epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET, "--state", w.lab.state, "--exec",
                            "/usr/bin/python3", "-c", uring)
        equal(done.stdout.strip(), "38", "errno of io_uring_setup (ENOSYS)")


@promise("a service manager is told when the rules stand, and the shipped units are in order")
def units():
    with World("units") as w:
        told = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            path = w.lab.path("notify")
            manager.bind(path)
            manager.settimeout(10)

            def listen():
                told.append((manager.recv(100), w.ruleset()))
            thread = threading.Thread(target=listen)
            thread.start()
            w.client.start(epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET, "--state", w.lab.state,
                           env={"NOTIFY_SOCKET": path})
            thread.join()
        equal(told[0][0], b"READY=1", "message")
        check("epif_redirect_15001" in told[0][1], "the rules did not stand yet")
        unit = w.lab.path("epif-redirect.service")
        with open(repository / "examples/systemd/epif-redirect.service", encoding="utf-8") as file:
            text = file.read()
        for word in ("Before=network-pre.target", "Type=notify", "RuntimeDirectoryPreserve=yes", "Restart=always"):
            check(word in text, f"the unit lacks {word}")
        with open(unit, "w", encoding="utf-8") as file:
            file.write(text.replace("/usr/local/bin/epif", epif()))
        done = w.client.run("systemd-analyze", "verify", "--man=no", unit, check=False)
        equal((done.returncode, [line for line in done.stderr.splitlines() if "epif-redirect" in line]), (0, []), "systemd-analyze")


run()
