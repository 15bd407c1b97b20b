"""The privileged master: start-up order, generations, signals.

Runs as: root (or the operator's own uid). Imports the standard library only.
"""
