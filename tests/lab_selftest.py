#!/usr/bin/python3
"""The lab itself: topology, processes, captures, and that nothing is left behind.

    client ──── lan (switch) ──── gate ──── server
    10.1.0.10                10.1.0.1  10.2.0.1   10.2.0.20
"""
import os
import shutil
import signal
import subprocess
import sys

from lab import Failure, Lab, check, equal, promise, remove_leftovers, repository, run, wait_until


def build(lab):
    client, lan, gate, server = lab.node("client"), lab.switch("lan"), lab.router("gate"), lab.node("server")
    lab.link(client, "10.1.0.10/24 fd01::10/64", lan)
    lab.link(gate, "10.1.0.1/24 fd01::1/64", lan)
    client.route("default", "10.1.0.1").route("default", "fd01::1")
    lab.link(server, "10.2.0.20/24 fd02::20/64", gate, "10.2.0.1/24 fd02::1/64")
    return client, gate, server


@promise("bytes cross the router over IPv4 and IPv6, and the capture holds them even when they are split over packets")
def crosses():
    with Lab("crosses") as lab:
        client, gate, server = build(lab)
        capture = gate.capture("server", "tcp")
        for bind, address in (("0.0.0.0", server.address), ("::", server.address6)):
            with server.listen(4242, bind) as listener, client.connect(address, 4242) as out:
                peer, _ = listener.accept()
                out.sendall(b"patient ")
                equal(peer.recv(8), b"patient ", "first half")
                out.sendall(b"name")
                equal(peer.recv(8), b"name", "second half")
                peer.close()
        capture.stop()
        check(capture.holds("patient name"), "the stream is not in the capture")
        check(not capture.holds("another name"), "the capture finds what was not sent")


@promise("a rate limit holds, and a process's log and end are seen")
def limits():
    with Lab("limits") as lab:
        client, gate, server = build(lab)
        gate.rate("server", "10mbit")
        check("tbf" in gate.run("tc", "qdisc", "show", "dev", "server").stdout, "no tbf")
        echo = server.start("sh", "-c", "echo ready; exec sleep 60", name="sleeper")
        echo.wait_for_log("ready")
        equal(echo.kill(), -signal.SIGKILL, "exit code")
        dead = server.start("false")
        try:
            dead.wait_for_log("never")
        except Failure as failure:
            check("ended with 1" in str(failure), str(failure))
        else:
            raise Failure("a dead process was waited for")


@promise("what a killed owner leaves behind is removed at the next start, and no process of it lives on")
def leftovers():
    if len(sys.argv) == 2 and sys.argv[1] == "victim":
        client, _, _ = build(Lab("victim"))
        client.start("setsid", "sleep", "1000", name="sleeper")
        print("built", flush=True)
        signal.pause()
    victim = subprocess.Popen([sys.executable, __file__, "victim"], stdout=subprocess.PIPE, text=True)
    equal(victim.stdout.readline().strip(), "built", "the victim")
    prefix = f"lab{victim.pid}x"
    check(any(n.startswith(prefix) for n in os.listdir("/run/netns")), "the victim built nothing")
    check(not any(n.startswith(prefix) for n in remove_leftovers()), "a living owner's namespaces were removed")
    victim.kill()
    victim.wait()
    wait_until(lambda: any(n.startswith(prefix) for n in remove_leftovers()) or
               not any(n.startswith(prefix) for n in os.listdir("/run/netns")), "the leftovers are found")
    check(not any(n.startswith(prefix) for n in os.listdir("/run/netns")), "a namespace is left")
    for logs in (repository / "build/lab").glob("victim-*"):
        shutil.rmtree(logs)


if __name__ == "__main__":
    leftovers() if sys.argv[1:] == ["victim"] else run()
