"""MIDI: clock output, a follower of another clock, and controllers with mapping files."""
