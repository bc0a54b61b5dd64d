"""Rendering without a sound card: control, loader and `render` in one process."""
