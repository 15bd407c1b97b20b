"""What ``module:attribute`` on the command line means.

Runs as: root (which only checks the form) and the worker (which loads what it names). Imports the
standard library only, and ``ast`` only for a call; nothing of the application is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass

_EXAMPLE = "write it like 'app:app', 'pkg.module:site.app' or 'app:create_app()'"


@dataclass(frozen=True, slots=True)
class Call:
    """The literal arguments of a factory."""

    args: tuple[object, ...]
    kwargs: tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class Target:
    """Where the application is: import ``module``, follow ``attributes``, then maybe call."""

    module: str
    attributes: tuple[str, ...]
    call: Call | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read the four forms: ``module``, ``module:name``, ``module:a.b``, ``module:make(1)``.

        Raises:
            ValueError: with a sentence that names the text and gives an example.
        """
        module, colon, expression = text.partition(":")
        if "/" in module or (module.endswith(".py") and not colon):
            stem = module.rsplit("/", 1)[-1].removesuffix(".py") or "app"
            raise ValueError(
                f"{text!r} names a file; name the module, like '{stem}:app', "
                "and its directory with --chdir"
            )
        if not _is_dotted(module):
            raise ValueError(f"{text!r} does not begin with a module's name; {_EXAMPLE}")
        if not colon:
            return cls(module, ("application",))
        name, parenthesis, _ = expression.partition("(")
        if not _is_dotted(name):
            raise ValueError(f"{text!r} names no attribute after the colon; {_EXAMPLE}")
        call = _read_call(text, name, expression) if parenthesis else None
        return cls(module, tuple(name.split(".")), call)


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _read_call(text: str, name: str, expression: str) -> Call:
    """Read ``name(...)``, all of whose arguments are literals."""
    import ast  # only this form needs it

    try:
        node = ast.parse(expression, mode="eval").body
        if not isinstance(node, ast.Call) or ast.unparse(node.func) != name:
            raise ValueError(expression)
        args = tuple(ast.literal_eval(argument) for argument in node.args)
        words = {word.arg: ast.literal_eval(word.value) for word in node.keywords}
        kwargs = tuple((word, value) for word, value in words.items() if word is not None)
        if len(kwargs) != len(node.keywords):  # **mapping, or a word given twice
            raise ValueError(expression)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(
            f"{text!r} is not one call with literal arguments (text, numbers, lists, None); "
            "write it like 'app:create_app(\"production\", debug=False)'"
        ) from error
    return Call(args, kwargs)
