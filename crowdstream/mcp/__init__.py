"""`crowdstream mcp`: the commands of a running server as tools of the Model Context Protocol.

It is a client of the server, with the client library's copy of the command table. The package `mcp`
is an optional extra, and only `server` imports it.
"""
