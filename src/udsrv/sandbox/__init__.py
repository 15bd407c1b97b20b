"""What the application's processes may do once they are not root.

Runs as: the application's user.
"""
