"""The control process: receive OSC commands, validate them and schedule them at frames."""
