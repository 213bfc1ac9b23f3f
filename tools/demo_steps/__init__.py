"""The parts of tools/demo: the world (topology), its programs (services), the control plane, and one file for each act."""
