"""Every call that needs root, and nothing else.

Runs as: root. Imports the standard library and ``udsrv.errors`` only.
"""
