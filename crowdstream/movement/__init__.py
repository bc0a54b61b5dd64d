"""From the movement of the crowd to a tempo: the map file, and a follower with inertia."""
