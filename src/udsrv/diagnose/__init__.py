"""Look at a configuration and a system, and say what is wrong.

Runs as: whoever calls it. Imports the standard library only as long as it may run as root.
"""
