"""End-to-end tests in network namespaces that read like the topology they build. See tests/README.md."""
from .again import Again
from .capture import Capture
from .names import remove_leftovers
from .network import Lab, Node, Router, Switch
from .process import Process
from .program import epif, repository, write_json
from .promise import Failure, check, equal, promise, run
from .service import Service, echo
from .setting import Setting
from .wait import wait_until

__all__ = ["Again", "Capture", "Failure", "Lab", "Node", "Process", "Router", "Service", "Setting", "Switch", "check", "echo", "epif", "equal", "promise",
           "remove_leftovers", "repository", "run", "wait_until", "write_json"]
