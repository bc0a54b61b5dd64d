"""Benchmarks. Each one is a program; its first lines describe the measurement."""
