"""Tools for developing CrowdStream: installation, virtual sound cards, emulated machines."""
