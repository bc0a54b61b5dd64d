"""Helpers for working on CrowdStream: installation, virtual sound cards, emulated machines."""
