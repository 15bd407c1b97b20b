"""What a server does before it runs: read settings, decide, check, and hand over to the master.

Runs as: root (or the operator's own uid) until the exec that makes this process the master, which
has none of this in its memory. Imports the standard library only.
"""
