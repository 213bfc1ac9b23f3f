#!/usr/bin/python3
"""The user's commands against a real orchestrator: exit codes, messages, what they print. Topology in control_world.py."""
import contextlib
import json
import os
import signal
import time

from control_world import DOMAINS, World, application
from lab import check, epif, equal, promise, run, wait_until


@contextlib.contextmanager
def site(name):
    """Orchestrator with the sample's domains; imaging may be (treatment), ads may not (marketing)."""
    with World(name) as world:
        world.init().start_orchestrator()
        world.apply(DOMAINS + "---" + application("imaging", "treatment", 4242) + "---" + application("ads", "marketing", 80))
        world.wait_phase("ads", "Denied")
        yield world


def expect(world, words, code, stdout=(), stderr=()):
    done = world.client(*words, check=False, timeout=20)
    equal(done.returncode, code, f"exit code of {' '.join(words)}: {done.stdout}{done.stderr}")
    for text, given in ((stdout, done.stdout), (stderr, done.stderr)):
        for word in text:
            check(word in given, f"{' '.join(words)}: {word!r} is not in {given!r}")
    if code == 1:
        equal(len([line for line in done.stderr.splitlines() if line.startswith("epif: ")]), 1, f"messages in {done.stderr!r}")
        equal(done.stdout, "", f"stdout of {' '.join(words)}")
    return done


@promise("get, describe and delete print what is there, say what is not, and refuse what is in use")
def resources():
    with site("control-client-resources") as world:
        expect(world, ["get", "nodes"], 0, ["umc/modality", "research/pacs"])
        equal(json.loads(expect(world, ["get", "node", "umc/modality", "-o", "json"], 0).stdout)["spec"]["addresses"], ["10.1.0.10"], "addresses")
        expect(world, ["get", "node", "umc/modality", "-o", "yaml"], 0, ["kind: Node", "  domain: umc"])
        expect(world, ["get", "node", "umc/nobody"], 1, stderr=["Node umc/nobody: does not exist"])
        expect(world, ["get", "gadgets"], 1, stderr=["gadgets: no such kind; known are domains"])
        expect(world, ["get"], 2, stderr=["kind is required"])
        expect(world, ["get", "nodes", "-o", "xml"], 2, stderr=["xml"])
        expect(world, ["describe", "node", "umc/modality"], 0, ["Node umc/modality", "10.1.0.10"])
        expect(world, ["describe", "node", "umc/nobody"], 1, stderr=["Node umc/nobody: does not exist"])
        expect(world, ["describe", "node"], 2, stderr=["name is required"])
        expect(world, ["delete", "node", "umc/modality"], 1, stderr=["Node umc/modality: is still in use", "Application 'ads'"])
        expect(world, ["delete", "consent", "none"], 1, stderr=["Consent none: does not exist"])
        expect(world, ["delete", "policy"], 2, stderr=["give KIND and NAME, or -f FILE"])
        expect(world, ["delete", "application", "ads"], 0, ["ads"])
        expect(world, ["get", "application", "ads"], 1, stderr=["Application ads: does not exist"])
        os.unlink(world.env["EPIF_TOKEN_FILE"])
        expect(world, ["get", "nodes"], 1, stderr=[world.env["EPIF_TOKEN_FILE"]])


@promise("what the server finds wrong is told with file and line of the user's own text, with object and field")
def places():
    policy = "kind: Policy\nmetadata: {name: %s}\nspec:\n  language: cedar\n  text: |\n    // one line more\n    %s\n"
    with site("control-client-places") as world:
        def wrong(text, line, *words):
            path = world.lab.path("site.yaml")
            with open(path, "w", encoding="utf-8") as out:
                out.write("# the user's file\n" + text)
            expect(world, ["apply", "-f", path], 1, stderr=[f"{path}:{line}: ", *words])
        wrong("kind: Domain\nmetadata: {name: far}\nspec: {}\n---\n"
              "kind: Node\nmetadata: {name: x, domain: far}\nspec:\n  addresses:\n    - 10.7.0.1\n  proxy: nobody\n",
              "11:3", "Node 'far/x', spec.proxy: there is no ProxyNode 'far/nobody'")
        wrong("kind: Node\nmetadata: {name: x, domain: umc}\nspec:\n  addresses: [10.1.0.10]\n", "5:3",
              "Node 'umc/x', spec.addresses: 10.1.0.10 belongs to Node 'umc/modality' already")
        wrong("kind: Application\nmetadata: {name: new}\nspec:\n  purpose: treatment\n  flows:\n    - name: f\n      from: umc/modality\n"
              "      to: research/nobody\n      port: 80\n", "9:7", "Application 'new', flow 'f', spec.flows[0].to: there is no Node")
        wrong(policy % ("first", "permit(principal, action, resource) when { context.x = 1 };"), "8:54", "Policy 'first', spec.text: `=` is not an operator")
        wrong(policy % ("first", "permit(principal, action, resource);") + "---\n" +
              policy % ("second", '@require("nothere") permit(principal, action, resource);'), "16:21", "Policy 'second', spec.text", "'nothere'")
        wrong("kind: BridgingFunction\nmetadata: {name: one}\nspec: {provides: [x], order: {after: [two]}}\n---\n"
              "kind: BridgingFunction\nmetadata: {name: two}\nspec:\n  provides: [y]\n  order: {after: [one]}\n",
              "4:23", "BridgingFunction 'one', spec.order", "one before two before one")
        wrong("kind: Domain\nmetadata: {name: umc, version: 999999}\nspec: {}\n", "2:1", "Domain 'umc'", "was changed by someone else")


@promise("explain ends with 3 for a flow that is refused and 0 for one that is carried, with the policy's words")
def explain():
    with site("control-client-explain") as world:
        expect(world, ["explain", "ads", "send"], 3, ["denied", "no policy permits it", "treatment"])
        carried = expect(world, ["explain", "imaging", "send"], 0, ["supported", "umc/proxy", "socks6", " ms predicted"])
        check("0E0" not in carried.stdout, carried.stdout)
        expect(world, ["explain", "imaging", "other"], 1, stderr=["imaging/other: no such flow; there are send"])
        expect(world, ["explain", "nobody", "send"], 1, stderr=["Application nobody: does not exist"])
        expect(world, ["explain", "ads"], 2, stderr=["flow is required"])
        expect(world, ["status", "ads"], 0, ["ads: Denied"])
        expect(world, ["stop", "nobody"], 1, stderr=["Application nobody: does not exist"])


@promise("watch prints what is and what changes until Ctrl-C, and ends with one message where there is nothing to watch")
def watch():
    with site("control-client-watch") as world:
        expect(world, ["watch", "gadgets"], 1, stderr=["gadgets: no such kind"])
        expect(world, ["watch"], 2, stderr=["kind is required"])
        host = world.hosts["orchestrator"]
        reader = host.start(epif(), "watch", "consents", "-o", "json", name="watch", env={**os.environ, **world.env})
        applied = "apiVersion: epif/v1\nkind: Consent\nmetadata: {name: p-1}\nspec: {subject: p-1, flows: [imaging/send], purposes: [treatment]}\n"
        world.apply(applied)
        wait_until(lambda: '"p-1"' in reader.output(), "the new consent is printed", 10)
        world.client("delete", "consent", "p-1")
        wait_until(lambda: '"removed"' in reader.output(), "its removal is printed", 10)
        events = [json.loads(line) for line in reader.output().splitlines() if line.startswith("{")]
        check(events[0]["event"] in ("is", "put") and events[-1]["event"] == "removed", str(events))
        equal({event["resource"]["metadata"]["name"] for event in events}, {"p-1"}, "names")
        world.orchestrator_process.stop()
        wait_until(lambda: "trying again" in reader.output(), "it says that the orchestrator is gone", 10)
        world.start_orchestrator()
        world.apply(applied.replace("p-1", "p-2"))
        wait_until(lambda: '"p-2"' in reader.output(), "it goes on after the orchestrator came back", 20)
        reader.signal(signal.SIGINT)
        reader.wait()


@promise("a join token that has expired is refused with clear words and leaves nothing; its life is the user's choice")
def expired_token():
    with site("control-client-token") as world:
        expect(world, ["orchestrator", "token", "umc/modality", "--valid", "soon"], 1, stderr=["valid: not a duration"])
        expect(world, ["orchestrator", "token", "umc/modality", "--valid", "10ms"], 1, stderr=["one second or more"])
        made = time.time()
        token = expect(world, ["orchestrator", "token", "umc/modality", "--valid", "1s"], 0).stdout.strip()
        wait_until(lambda: time.time() > made + 2.0, "the second has passed", 5)
        folder = os.path.join(world.lab.state, "late")
        done = world.hosts["modality"].run(epif(), "agent", "--orchestrator", "https://10.9.0.7:7443", "--node", "umc/modality", "--token", token,
                                           "--state", folder, check=False, timeout=20)
        equal(done.returncode, 1, "exit code: " + done.stderr)
        lines = [line for line in done.stderr.splitlines() if line.startswith("epif: ")]
        equal(len(lines), 1, "messages: " + done.stderr)
        check("the token has expired" in lines[0] and "ask for a new one" in lines[0], lines[0])
        check(not os.path.exists(folder), "a folder was left")
        check(token.split(".")[2] not in done.stderr, "the secret is in the message")


run()
