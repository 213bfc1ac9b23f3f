#!/usr/bin/python3
"""What the program says about itself: help, completion, manual pages. All are made from the commands' own declarations."""
import subprocess

from lab import check, epif, equal, promise, run


def say(*arguments, given=None):
    done = subprocess.run([epif(), *arguments], capture_output=True, text=True, input=given, timeout=30)
    equal(done.returncode, 0, f"exit code of epif {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def commands():
    return [line.split() for line in say("man", "--list").splitlines()]


def leaves():
    known = commands()
    return [words for words in known if not any(other[:-1] == words for other in known)]


@promise("the help of each command has an example that begins with the command itself")
def examples():
    without = [words for words in leaves() if f"epif {' '.join(words)}" not in say(*words, "--help").partition("xample")[2]]
    check(len(leaves()) > 20, f"only {len(leaves())} commands are listed")
    equal(without, [], "commands without an example")


@promise("the manual page of each command renders without a warning and holds its options")
def manual_pages():
    for words in [[], *commands()]:
        page = say("man", *words)
        shown = subprocess.run(["groff", "-man", "-Tascii", "-ww", "-P-cbou"], input=page, capture_output=True, text=True, timeout=30)
        equal(shown.stderr, "", f"warnings about the page of {words}")
        for option in (word for word in say(*words, "--help").split() if word.startswith("--") and "," not in word):
            check(option.rstrip(".;:)'") in shown.stdout, f"{option} is not on the page of {words}")


def complete(*line):
    script = """source /dev/stdin <<< "$SCRIPT"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _epif; printf '%s\\n' "${COMPREPLY[@]}" """
    done = subprocess.run(["bash", "-c", script, "bash", "epif", *line], capture_output=True, text=True, timeout=30,
                          env={"SCRIPT": say("completion", "bash"), "PATH": "/usr/bin:/bin"}, cwd="/etc")
    equal(done.stderr, "", "what bash says about the completion script")
    return done.stdout.split()


@promise("bash completes commands, commands below commands, options and files")
def completion():
    equal(complete("prox"), ["proxy"], "epif prox<TAB>")
    equal(complete("orchestrator", "in"), ["init"], "epif orchestrator in<TAB>")
    check("--allow-all" in complete("proxy", "--"), "epif proxy --<TAB> lacks --allow-all")
    check("--allow-all" not in complete("plan", "--"), "epif plan --<TAB> offers a flag of proxy")
    equal(complete("plan", "-f", "hostn"), ["hostname"], "epif plan -f hostn<TAB>")


@promise("zsh and fish take the completion scripts: every command stands in them")
def other_shells():
    for shell in ("zsh", "fish"):
        script = say("completion", shell)
        for words in commands():
            check(words[-1] in script, f"{' '.join(words)} is not in the script of {shell}")
    done = subprocess.run(["zsh", "-n"], input=say("completion", "zsh"), capture_output=True, text=True, timeout=30)
    equal((done.returncode, done.stderr), (0, ""), "what zsh says about its script")
    done = subprocess.run(["fish", "-n"], input=say("completion", "fish"), capture_output=True, text=True, timeout=30)
    equal((done.returncode, done.stderr), (0, ""), "what fish says about its script")


if __name__ == "__main__":
    run(needs_root=False)
