"""OSC: packets, the UDP socket, the fair queue between senders, and access control."""
