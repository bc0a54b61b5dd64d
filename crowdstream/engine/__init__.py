"""The engine: `render` and its kernels, and the process that feeds the sound card."""
