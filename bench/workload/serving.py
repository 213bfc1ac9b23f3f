"""Another server than NGINX at the world's server, on the port that every competitor leads to."""
import contextlib


@contextlib.contextmanager
def instead(world, start):
    """`start()` makes the server that serves on the world's port within the block; then NGINX is back."""
    world.serving.stop()
    other = None
    try:
        other = start()
        yield other
    finally:
        if other:
            other.stop()
        world.serve()
