"""Programs that use CrowdStream from outside, over OSC. None of them is imported by it."""
