"""Optional outputs and peers: each has a process of its own, which is slow or dead at no cost."""
