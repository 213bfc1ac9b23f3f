#!/usr/bin/python3
"""What the program says about itself: help, completion, manual pages. All are made from the commands' own declarations."""
import os
import shutil
import subprocess
import tempfile

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


@promise("a misspelt command or option is named with the nearest that there is, exit code 2")
def misspelt():
    for words, expected in [(["paln"], "epif: there is no command 'paln'; did you mean 'plan'?"),
                            (["orchestrator", "inti"], "epif: orchestrator: there is no command 'inti'; did you mean 'init'?"),
                            (["plan", "--fiel", "x"], "epif: plan: there is no option '--fiel'; did you mean '--file'?"),
                            (["plan", "-f", "paln", "--outptu=json"], "epif: plan: there is no option '--outptu'; did you mean '--output'?"),
                            (["xyzzy"], "epif: there is no command 'xyzzy'; epif --help lists them")]:
        done = subprocess.run([epif(), *words], capture_output=True, text=True, timeout=30)
        equal((done.returncode, done.stdout, done.stderr.strip()), (2, "", expected), f"epif {' '.join(words)}")


@promise("without root the redirector says what it needs root for, once with its name")
def without_root():
    if os.geteuid() == 0:
        unprivileged = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    else:
        unprivileged = []
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program = shutil.copy(epif(), folder)  # where everybody may read it
        for words, expected in [(["--observe"], "epif: redirect: cannot watch the packets of this node (a packet socket is root's): not root; run it as root"),
                                (["--proxy", "127.0.0.1:1", "--capture", "192.0.2.1"],
                                 "epif: redirect: cannot change the rules of this node: not root; run it as root")]:
            done = subprocess.run([*unprivileged, program, "redirect", *words], capture_output=True, text=True, timeout=30, cwd="/")
            equal((done.returncode, done.stderr.strip()), (1, expected), f"epif redirect {' '.join(words)}")


@promise("a folder's own documents are planned, and the folders in it are named as not read")
def folders():
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/umc")
        for name in ("all", "umc/more"):
            with open(f"{folder}/{name}.yaml", "w", encoding="utf8") as file:
                file.write(f"kind: Domain\nmetadata: {{name: {name[:3]}}}\nspec: {{}}\n")
        done = subprocess.run([epif(), "plan", "-f", folder, "-o", "json"], capture_output=True, text=True, timeout=30)
        equal(done.returncode, 0, "exit code")
        check(f"epif: note: {folder}/umc is not read; name it, too, if it is meant" in done.stderr, done.stderr)
        check("'umc'" not in done.stdout, "the folder inside was read")


if __name__ == "__main__":
    run(needs_root=False)
