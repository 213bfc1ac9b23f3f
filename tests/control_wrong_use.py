#!/usr/bin/python3
"""Wrong use of orchestrator and agent: one clear message, nothing half made. Topology in control_world.py."""
import os
import sqlite3
import subprocess

from control_world import API, World
from lab import check, epif, equal, promise, run


def fails(done, *words):
    check(done.returncode in (1, 2), f"exit code {done.returncode}: {done.stdout}{done.stderr}")
    lines = [line for line in done.stderr.splitlines() if line.startswith("epif:")]
    equal(len(lines), 1, f"messages in {done.stderr!r}")
    for word in words:
        check(word in lines[0], f"{word!r} is not in: {lines[0]}")


def agent(world, token, *more, node="umc/modality", state="tried"):
    return world.hosts["modality"].run(epif(), "agent", "--orchestrator", API, "--node", node, "--token", token, "--state",
                                       os.path.join(world.lab.state, state), *more, check=False)


@promise("a token that is wrong, foreign or expired is refused with clear words, and no folder is left")
def tokens():
    with World("control-tokens") as world:
        world.init()
        good = world.token
        world.start_orchestrator()
        fails(agent(world, "nonsense"), "token")
        word, number, secret, authority = good.split(".")
        fails(agent(world, f"{word}.{number}.{secret[:-4]}AAAA.{authority}"))
        fails(agent(world, f"{word}.{number}.{secret}.{authority[:-4]}0000"))
        check(not os.path.exists(os.path.join(world.lab.state, "tried")), "a folder was left behind")
        check(secret not in open(world.orchestrator_process.log, encoding="utf-8").read(), "the secret is in a log")


@promise("a second agent in one folder, another node's folder, a host that has not joined: each says what to do")
def folders():
    with World("control-folders") as world:
        world.start()
        state = world.state_of("umc/modality")
        fails(world.hosts["modality"].run(epif(), "agent", "--orchestrator", API, "--node", "umc/modality", "--state", state,
                                          check=False), "already works in this folder")
        world.agents["umc/modality"].stop(within=20)
        fails(world.hosts["modality"].run(epif(), "agent", "--orchestrator", API, "--node", "umc/other", "--state", state,
                                          check=False), "belongs to umc/modality")
        fails(world.hosts["modality"].run(epif(), "agent", "--orchestrator", API, "--node", "umc/modality", "--state",
                                          os.path.join(world.lab.state, "none"), check=False), "has not joined", "--token")


@promise("an alias range whose addresses mean this host, its link or many is refused as wrong use, and the orchestrator does not start")
def alias_range():
    with World("control-aliasrange") as world:
        world.init()
        blocks = {"0.0.0.0/0": "this host", "127.0.0.0/8": "loopback", "169.254.0.0/16": "link-local", "224.0.0.0/4": "multicast",
                  "::/0": "IPv4 block", "fe80::/10": "IPv4 block", "ff00::/8": "IPv4 block", "::1/128": "IPv4 block"}
        for block, word in blocks.items():
            done = world.hosts["orchestrator"].run(epif(), "orchestrator", "run", "--dir", world.folder, "--listen", "10.9.0.7:7443",
                                                   f"--alias-range={block}", check=False)
            equal(done.returncode, 2, f"exit code for {block!r}")
            fails(done, "--alias-range", word)


@promise("a port in use, a folder without or with an authority, an unknown store: one message")
def orchestrator():
    with World("control-orchestrator") as world:
        world.init().start_orchestrator()
        host, folder = world.hosts["orchestrator"], world.folder
        fails(host.run(epif(), "orchestrator", "init", "--dir", folder, check=False), "holds an orchestrator already")
        other = os.path.join(world.lab.state, "other")
        host.run(epif(), "orchestrator", "init", "--dir", other, "--listen", "10.9.0.7:7443")
        fails(host.run(epif(), "orchestrator", "run", "--dir", other, "--listen", "10.9.0.7:7443", check=False), "10.9.0.7:7443")
        fails(host.run(epif(), "orchestrator", "run", "--dir", other + "x", check=False), "orchestrator init")
        fails(host.run(epif(), "orchestrator", "run", "--dir", other, "--store", "paper:x", check=False), "sqlite:PATH")
        fails(host.run(epif(), "orchestrator", "run", "--dir", folder, "--listen", "10.9.0.7:7444", check=False), "another orchestrator")
        connection = sqlite3.connect(f"file:{other}/epif.db?mode=ro", uri=True)
        check(connection.execute("select count(*) from sqlite_master").fetchone()[0] > 0, "the store of the failed run is damaged")


@promise("without root an agent says so")
def no_root():
    with World("control-root") as world:
        world.init()
        done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", epif(), "agent", "--orchestrator", API,
                               "--node", "umc/modality", "--state", "/tmp/epif-no-root"], capture_output=True, text=True, check=False)
        fails(done, "root")
        check(not os.path.exists("/tmp/epif-no-root"), "a folder was made")


run()
