"""Compilation of the kernels, and the cache of compiled code."""
