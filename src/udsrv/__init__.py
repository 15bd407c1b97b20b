"""udsrv serves Python web applications to Nginx over a Unix-domain socket."""

__version__ = "0.1.0"
