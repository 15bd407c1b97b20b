"""Write what the generators print now; `git diff` then shows what changed for an operator.

Run it as: PYTHONPATH=src:tests .venv/bin/python -m golden.rewrite
"""

from __future__ import annotations

from golden.cases import kept_files

if __name__ == "__main__":
    for kept in kept_files():
        kept.path.parent.mkdir(parents=True, exist_ok=True)
        kept.path.write_text(kept.generated.text)
