"""A server that speaks first, and a purpose that nobody permits."""
from lab import check, equal

from . import services
from .transfer import try_connect


def server_first(report, world):
    report.section("A server that speaks first")
    with report.shows("MariaDB, which greets before its client says a word, answers through the chain") as line:
        done = services.ask_database(world.modality, world.pacs.address)
        check(done.returncode == 0, f"the client says: {done.stderr.strip()}")
        equal(done.stdout.strip(), "4", "rows counted")
        line.say("SELECT COUNT(*) = 4")


def refusals(report, world, control):
    report.section("What must not move")
    with report.shows("a purpose without permit: the application is Denied, and the policy is named") as line:
        done = control.client("submit", "-f", world.resources / "6-advertising.yaml", "--wait", check=False)
        equal(done.returncode, 3, "exit code of submit")
        status = control.status("advertising")
        equal(status["phase"], "Denied", "phase")
        said = control.explain("advertising", "profiles")
        check("never-for-marketing" in said, f"explain names no policy: {said}")
        line.say(control.reason(said))
    with report.shows("its connection is refused, although its server listens") as line:
        with world.pacs.listen(9000):
            met = try_connect(world.modality, world.pacs.address, 9000)
            check(met not in ("open", "end"), f"a connection met {met!r}")
            line.say(met)
    with report.shows("the flow to the vendor is Unfeasible, and the attribute is named") as line:
        done = control.client("submit", "-f", world.resources / "7-cloud-backup.yaml", "--wait", check=False)
        equal(done.returncode, 3, "exit code of submit")
        status = control.status("cloud-backup")
        equal(status["phase"], "Unfeasible", "phase")
        said = control.explain("cloud-backup", "nightly")
        check("encryption" in said, f"explain names no attribute: {said}")
        line.say(control.reason(said))


def supported(report, world):
    report.section("The supported flow: no chain, but the same way")
    for address in (world.pacs.address, f"[{world.pacs.address6}]"):
        family = "IPv6" if ":" in address else "IPv4"
        with report.shows(f"reports are fetched from nginx over {family}") as line:
            done = world.modality.run("curl", "-sS", "-g", "-m", "10", f"http://{address}/", check=False)
            check("reports of the research centre" in done.stdout, f"curl ended with {done.returncode}: {done.stderr.strip()}")
            line.say(done.stdout.strip())
