"""`crowdstream fleet`: several servers on one screen, and commands to all of them.

It is a client: it uses `crowdstream.client` and the documented protocol.
"""
