"""Benchmarks: each is a program of its own, and says how it measures in its first lines."""
