"""Sends stdin as datagrams, each after the answer to the one before, and prints the answers."""
import sys

SIZES = (1200, 1, 8000, 512)


def exchange(send, made):
    made.settimeout(10)
    data, at = sys.stdin.buffer.read(), 0
    for number in range(len(data)):
        part = data[at:at + SIZES[number % len(SIZES)]]
        if not part:
            break
        send(part)
        sys.stdout.buffer.write(made.recvfrom(65536)[0])
        at += len(part)
    sys.stdout.buffer.flush()
