"""One generation of the application: fork workers, replace them, relay their output.

Runs as: the application's user, single-threaded.
"""
