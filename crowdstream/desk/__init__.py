"""The desk: the shared memory block that holds all the state that rendering depends on."""
