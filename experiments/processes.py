"""From the options that name the processes of a run to `jax.distributed`."""

import dataclasses
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

import jax

from experiments.options import RunOptions
from peg_jax.core.config import ConfigError, require
from peg_jax.run.files import DiskError, RunError
from peg_jax.run.processes import several

Run = TypeVar("Run", bound=RunOptions)

AUTO = "auto"
TIMEOUT = 300  # seconds for all processes to come up
ALONE: dict[str, Any] = {"coordinator": "", "num_processes": 0, "process_id": -1}


def join_first(module: str) -> None:
    """`join`, if `module` is the command that the user started; what the user can mend is one line."""
    if module == "__main__":
        try:
            join(sys.argv[1:])
        except (ConfigError, RunError) as mistake:
            print(f"error: {mistake}", file=sys.stderr)
            sys.exit(RunError.exit_code)


def join(arguments: Sequence[str], timeout: int = TIMEOUT) -> None:
    """Meet the other processes that the command line speaks of, before anything is computed.

    Raises:
        ConfigError: the options cannot work.
        RunError: process 0 does not answer.
    """
    given = {name: value for name in ALONE if (value := option(arguments, name)) is not None}
    if not given:
        return
    address, (first, value) = given.get("coordinator", ""), next(iter(given.items()))
    require(bool(address), first, value, "name --coordinator=host:port, or auto")
    if address == AUTO:
        try:
            jax.distributed.initialize()
        except ValueError as error:
            unknown = "no scheduler that JAX knows started this process; name --coordinator=host:port"
            raise ConfigError(f"--coordinator={AUTO} cannot work: {unknown}") from error
        return
    require(":" in address, "coordinator", address, "it is the host:port of process 0, or auto")
    count, index = (_number(given, name) for name in ("num_processes", "process_id"))
    require(count >= 1, "num_processes", count, "it must be at least 1")
    require(0 <= index < count, "process_id", index, f"it must lie between 0 and {count - 1}")
    if index:
        _wait_for(address, timeout)
    else:
        print(f"processes   {count}, meeting at {address} within {timeout} s", flush=True)
    jax.distributed.initialize(address, count, index, initialization_timeout=timeout)


def _wait_for(address: str, timeout: int) -> None:
    """Wait until process 0 listens: JAX, which would wait as well, ends a process in pages of its own."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except ValueError as error:
            raise ConfigError(f"--coordinator={address} cannot work: {port} is no port") from error
        except OSError as error:
            if time.monotonic() > end:
                raise RunError(f"process 0 does not answer at {address} within {timeout} s: {error}") from error
            time.sleep(0.2)


def option(arguments: Sequence[str], name: str) -> str | None:
    """The last value of `--name` on the command line, before the real parse."""
    value = None
    for index, argument in enumerate(arguments):
        key, equals, rest = argument.partition("=")
        if key.replace("_", "-") == f"--{name.replace('_', '-')}":
            value = rest if equals else "".join(arguments[index + 1 : index + 2])
    return value


def _number(given: dict[str, str], name: str) -> int:
    value = given.get(name, "")
    whole = value.lstrip("-").isdigit()
    require(whole, name, value, "--coordinator=host:port needs --num-processes and --process-id, whole numbers")
    return int(value)


def as_one(config: Run) -> Run:
    """The options without those that name processes, so that a run may go on with others or with one alone.

    Raises:
        ConfigError: several processes cannot share the run.
    """
    if several():
        count = jax.process_count()
        require(bool(config.logdir), "logdir", config.logdir, f"{count} processes need the name of one directory")
        even = f"{count} processes need equally many each; use a multiple of {count}"
        require(config.num_seeds % count == 0, "num_seeds", config.num_seeds, even)
    return dataclasses.replace(config, **ALONE)


def leave(error: RunError | ConfigError) -> NoReturn:
    """Exit with the error's code.

    At once where others wait for this process, so that they end as well, and after a refusal of the disk: what orbax
    left unfinished would add its own complaints to the one line.
    """
    code = error.exit_code if isinstance(error, RunError) else RunError.exit_code
    if several() or isinstance(error, DiskError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
