"""From the command line to a validated configuration, and from a user's mistake to one clear line and exit code 2."""

import contextlib
import gc
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TypeVar

import tyro
from rich.console import Console

from experiments.config import MAY_CHANGE, RunConfig, validate_run
from experiments.options import RunOptions, read_options
from experiments.presets import preset
from experiments.processes import leave, option
from peg_jax.core.config import ConfigError
from peg_jax.run.config_json import encode, flatten
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError
from peg_jax.run.processes import writes
from peg_jax.run.progress import print_line
from peg_jax.run.signals import EXIT_CODES, StoppedError

Config = TypeVar("Config")
Run = TypeVar("Run", bound=RunConfig)


def parse_run(cls: type[Run], arguments: Sequence[str], extra: Sequence[str] = ()) -> tuple[Run, bool]:
    """`parse_command` for a run of PEG or one of its baselines; options named in `extra` may change as well."""

    def start(name: str, env: str, method: str) -> Run:
        return preset(cls, name, env, method)

    return parse_command(cls, arguments, ("preset", "env", "method"), start, validate_run, (*MAY_CHANGE, *extra))


def parse_command(
    cls: type[Config],
    arguments: Sequence[str],
    choices: Sequence[str],
    start: Callable[..., Config],
    validate: Callable[[Config], None],
    may_change: Sequence[str],
) -> tuple[Config, bool]:
    """The configuration that the command line asks for, validated, and whether it continues an existing run.

    Without a run in `--logdir`, options start from what `start` makes of the values of the options `choices`; with one,
    from what that run was started with, and only those in `may_change`, which leave its numbers alone, may change.

    Raises:
        ConfigError, RunError: the user's mistakes.
    """
    logdir = option(arguments, "logdir") or ""
    directory = RunDirectory(logdir) if logdir else None
    if directory is None or not directory.exists():
        config = parse(cls, arguments, start(*(option(arguments, name) or getattr(cls, name) for name in choices)))
        validate(config)
        return config, False
    saved = read_options(directory, cls)
    config = parse(cls, arguments, saved)
    _refuse_changes(encode(saved), encode(config), (*may_change, "logdir"), logdir)
    validate(config)
    return config, True


def _refuse_changes(saved: dict[str, Any], asked: dict[str, Any], allowed: Sequence[str], logdir: str) -> None:
    before, after = flatten(saved), flatten(asked)
    changed = [name for name in after if after[name] != before[name] and name not in allowed]
    if changed:
        name = changed[0]
        option = name.replace("_", "-")
        raise ConfigError(
            f"--{option}={after[name]} cannot change the run in {logdir}, which has {before[name]}; "
            f"leave it out, or start another run with another --logdir"
        )


def say_changes(saved: dict[str, Any], config: RunOptions, console: Console) -> None:
    """Name the options of a resumed run that differ from what it was last started with."""
    before = flatten(saved)
    for name, value in flatten(encode(config)).items():
        if name != "logdir" and before.get(name, value) != value:
            print_line(console, f"changed     --{name.replace('_', '-')} from {before[name]} to {value}")


def parse(cls: type[Config], arguments: Sequence[str], default: Config) -> Config:
    """tyro's parse, with its errors as one `ConfigError` line each.

    Raises:
        ConfigError: an unknown option, a value of the wrong type, a missing value.
    """
    captured = io.StringIO()
    try:
        with _wide_terminal(), contextlib.redirect_stderr(captured):
            return tyro.cli(cls, args=list(arguments), default=default)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ConfigError(_with_remedy(_condense(captured.getvalue()))) from None


@contextlib.contextmanager
def _wide_terminal() -> Iterator[None]:
    """Keep tyro from wrapping its messages; `--help` keeps the real width."""
    if {"-h", "--help"} & set(sys.argv):
        yield
        return
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "400"
    try:
        yield
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before


def _condense(message: str) -> str:
    """tyro's boxed message as one line: what is wrong, then what would work."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", message)
    lines = [line.strip(" │╭╮╰╯─") for line in plain.splitlines()]
    lines = [line for line in lines[1:] if line and not line.startswith("For full helptext")]
    return re.sub(r"\s+", " ", "; ".join(lines[:3])).replace(":;", ":")


def _with_remedy(message: str) -> str:
    """What would work, where tyro does not say it."""
    for sign, remedy in (
        ("invalid literal for int()", "a whole number is wanted, such as 100000"),
        ("Unrecognized options: /", "a path needs the name of its option before it, see --help"),
        ("Could not find valid parse", "several numbers are written with spaces between them, such as 1 2"),
    ):
        if sign in message:
            return f"{message}; {remedy}"
    return message


def main(run: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run a command with the real arguments and exit as the README says; what a user can mend is one line."""
    gc.set_threshold(200_000, 20, 20)  # tracing makes millions of objects that stay; to look them over costs a tenth
    try:
        sys.exit(run(sys.argv[1:]))
    except StoppedError as stopped:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # everything is done, an impatient Ctrl-C finds nothing to stop
        if writes():
            print(stopped)
        sys.exit(stopped.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_CODES[signal.SIGINT])
    except (ConfigError, RunError) as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        leave(mistake)
    except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as refused:
        if refused.filename is None:
            raise
        print(f"error: {refused.filename} cannot be used: {refused.strerror}; name another place", file=sys.stderr)
        sys.exit(RunError.exit_code)
