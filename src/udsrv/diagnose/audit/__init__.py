"""``udsrv audit``: what the running processes could do, read from the kernel and tried.

Runs as: whoever calls it, best root. Imports the standard library only. `listening`, `processes`,
`attempts`, `writable` and `surroundings` look, `judge` decides from the `facts` they return,
`report` prints.
"""
