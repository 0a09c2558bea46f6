"""The command line: from arguments to a subcommand of `bot.terminal`, from errors to exit codes."""

import codecs
import contextlib
import importlib.metadata
import io
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from bot.exits import HELP, ExitCode, Stop
from bot.grammar.prompts import PromptError
from bot.settings import CONFIG_FILE, SettingsRefused
from bot.terminal import assessment, demo, doctor, imagine, log, models, reproduce, run, training
from generation.work.errors import (
    FileRefused,
    GenerationError,
    ImageRefused,
    InvalidRequest,
    UnknownCheckpoint,
)
from storage.errors import NotFound, StorageError

atelier = typer.Typer(
    name="atelier",
    help=f"A Discord bot with which a community makes pictures together.\n\n{HELP}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="What checkpoints are trained on.", no_args_is_help=True)
data.command("build")(training.build)
for command in (run.run, demo.demo, imagine.imagine, reproduce.reproduce, log.log):
    atelier.command()(command)
atelier.add_typer(data, name="data")
atelier.add_typer(models.models, name="models")
atelier.command()(training.train)
atelier.command()(assessment.assess)
atelier.command()(doctor.doctor)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(importlib.metadata.version("atelier-discord"))
        raise typer.Exit


@atelier.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help=f"Settings file.  \\[default: {CONFIG_FILE} if it is there]"),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = config


def main() -> None:
    """Run the command line; a border where every exception becomes a sentence and an exit code."""
    _open_streams()
    try:
        atelier()
    except Stop as stop:
        _end(str(stop), stop.code)
    except (
        SettingsRefused,
        FileRefused,
        UnknownCheckpoint,
        InvalidRequest,
        ImageRefused,
        NotFound,
    ) as error:
        _end(str(error), ExitCode.USAGE)
    except PromptError as error:
        _end("\n".join(filter(None, [error.message, error.pointer()])), ExitCode.USAGE)
    except (GenerationError, StorageError) as error:
        _end(str(error), ExitCode.UNABLE)
    except OSError as error:
        _end(
            ": ".join(str(part) for part in (error.filename, error.strerror) if part),
            ExitCode.UNABLE,
        )
    except KeyboardInterrupt:
        _end("stopped", ExitCode.UNABLE)
    except Exception:
        logging.getLogger(__name__).exception("unexpected")
        _end("this is a bug; please report it with the lines above", ExitCode.UNABLE)


def _open_streams() -> None:
    """Have three open streams that take any text.

    One that was closed (`>&-`) would lend its number to the next file that is opened, the record
    for example. Names of files may hold bytes that are no text, prompts letters that a terminal
    lacks; neither ends a command.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            while os.open(os.devnull, os.O_RDWR) < number:
                pass
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            is_utf_8 = codecs.lookup(stream.encoding).name == "utf-8"
            stream.reconfigure(errors="surrogateescape" if is_utf_8 else "backslashreplace")


def _end(message: str, code: ExitCode) -> NoReturn:
    try:
        sys.stdout.flush()
    except OSError:  # a full disk or a closed pipe: Python would try again, and fail, at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with contextlib.suppress(OSError):  # nobody reads it
        print(f"atelier: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
