"""What ends a benchmark or one server's part in it.

Runs as: whoever runs the benchmark.
"""

from __future__ import annotations


class BenchmarkError(Exception):
    """Nothing can be measured; its text is one sentence that says what would help."""


class ServerFailed(Exception):  # noqa: N818 - says what happened, like the standard library's
    """One server did not start, did not stop, or answered wrongly."""
