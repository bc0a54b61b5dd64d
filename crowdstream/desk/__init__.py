"""The desk: one block of shared memory that holds all the sound depends on."""
