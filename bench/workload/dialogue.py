"""A program that is told things by lines and answers each with a line of JSON."""
import contextlib
import json
import select
import subprocess

from world import Unfit

READY_S = 30


@contextlib.contextmanager
def dialogue(world, node, *words, ready_s=READY_S):
    """Starts it at `node`; yields (its first answer, ask(line, seconds) -> answer). It is gone at the end of the block."""
    name = words[0].rpartition("/")[2]
    with open(world.lab.path(f"{name}.log"), "w+", encoding="utf-8") as log, \
            subprocess.Popen(node.enter(*words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1) as process:
        def answer(patience):
            readable, _, _ = select.select([process.stdout], [], [], patience)
            line = process.stdout.readline() if readable else ""
            if not line:
                log.seek(0)
                raise Unfit(log.read().strip()[-300:] or f"{name} does not answer within {patience:g} s")
            return json.loads(line)

        def ask(line, patience):
            process.stdin.write(line + "\n")
            return answer(patience)

        try:
            yield answer(ready_s), ask
        finally:
            process.kill()


__all__ = ["dialogue"]
