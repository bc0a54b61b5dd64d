"""Programs that use CrowdStream over OSC. CrowdStream itself imports none of them."""
