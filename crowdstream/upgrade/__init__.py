"""`crowdstream upgrade`: check an installation and hand a running server over to it."""
