"""A lab with what stands in it, built at the start of a `with` block."""
import sys


class Setting:
    """What the worlds of the tests and of the benchmark share. `with Setting(Lab("name")) as it:` calls build(); what a build that
    fails has made is taken down as well."""

    def __init__(self, lab):
        self.lab = lab

    def build(self):
        raise NotImplementedError

    def take_down(self):
        """What has to end before the lab does."""

    def __enter__(self):
        self.lab.__enter__()
        try:
            self.build()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *reason):
        try:
            self.take_down()
        finally:
            self.lab.__exit__(*reason)
