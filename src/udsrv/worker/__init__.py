"""One worker: load the application, serve it, drain.

Runs as: the application's user.
"""
