"""Settings to the text of other programs' configuration.

Runs as: any user. Everything here is pure: settings in, files out, byte for byte the same for the
same input. No clock, no environment, no look-up of users, files or versions.
"""
