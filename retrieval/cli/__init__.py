"""The command `retrieval`: stdout is data, stderr is talk; exit code 0, 1 (it failed) or 2 (usage)."""

import sys
from typing import Annotated

import typer

from retrieval._version import __version__
from retrieval.cli import encode, evaluate, index, mine, router, search, train
from retrieval.errors import FilterError, InputError, RetrievalError

__all__ = ["app", "main"]

app = typer.Typer(
    name="retrieval",
    help="Dense, learned-sparse and lexical retrieval over one index artifact.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(index.app, name="index")
app.command("search")(search.search)
app.command("encode")(encode.encode)
app.add_typer(evaluate.app, name="eval")
app.command("mine")(mine.mine)
app.add_typer(train.app, name="train")
app.add_typer(router.app, name="router")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Dense, learned-sparse and lexical retrieval over one index artifact."""


def main() -> None:
    """Run the command line; an error that was foreseen is told in words, without a traceback."""
    try:
        app()
    except RetrievalError as error:
        # An option that cannot be used is usage; its subclasses say that a file cannot be read.
        _fail(str(error), error.hint, code=2 if type(error) in (InputError, FilterError) else 1)
    except BrokenPipeError:
        # The reader of our output has left, as `head` does.
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(message: str, hint: str | None = None, *, code: int = 1) -> None:
    typer.echo(f"error: {message}", err=True)
    if hint:
        typer.echo(f"hint: {hint}", err=True)
    sys.exit(code)
