"""What the host does for every run: call compiled epochs, and between them log, evaluate, draw, save and stop in order.

Nothing here changes the numbers of a run: all that does is in its state.
"""

import shlex
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax
import numpy as np
from rich.console import Console

from experiments.cli import say_changes
from experiments.compilation import enable_compilation_cache
from experiments.logs import WallClock
from experiments.memory import Growing, require_memory
from experiments.options import RunOptions
from experiments.seeds import fetch, seed_devices, seed_keys
from peg_jax.core.types import Key
from peg_jax.run import processes
from peg_jax.run.checkpoint import CheckpointStore
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import NumbersError
from peg_jax.run.metrics import MetricsWriter
from peg_jax.run.progress import ProgressBar, state_table
from peg_jax.run.session import Session

Options = TypeVar("Options", bound=RunOptions)
Evaluation = TypeVar("Evaluation")


def new_logdir(task: str, config: RunOptions) -> str:
    """`runs/<task>_<method>_<preset>_seed<seed>_<time>`."""
    now = datetime.now().strftime("%Y%m%d-%H%M%S")
    return f"runs/{task}_{config.method}_{config.preset}_seed{config.seed}_{now}"


@contextmanager
def open_run(command: str, config: RunOptions, resuming: bool, unused: Sequence[str] = ()) -> Iterator[Session]:
    """Take the run's directory, and say what is going on in it.

    Args:
        command: the module that the user started.
        config: the run's options.
        resuming: whether they are those of a run that exists.
        unused: options of the command line that change nothing.
    """
    console, directory = Console(quiet=not processes.writes()), RunDirectory(config.logdir)
    processes.wait("options read")  # before any process writes them
    if config.compilation_cache:
        enable_compilation_cache()
    resume = shlex.join(["python", "-m", command, f"--logdir={config.logdir}"])
    with Session(directory, resume, console) as session:
        console.print(f"{'resuming' if resuming else 'new run'} in {config.logdir}", soft_wrap=True)
        if unused:
            console.print(f"note: {config.method} has no use for {', '.join(unused)}", soft_wrap=True)
        if resuming:
            say_changes(directory.read_config(), config, console)
            before, now = [start.get("backend") for start in directory.read_starts()][-1:], jax.default_backend()
            if before not in ([], [now]):
                other = f"the run was on {before[0]} and goes on on {now}, whose numbers differ, physics among them"
                console.print(f"warning: {other}", soft_wrap=True)
        yield session


class Host(ABC, Generic[Options, Evaluation]):
    """One run directory and the run in it.

    The state of a run, a `TrainState`, has `seed` with a leading axis of seeds, `seed.bad_updates [num_seeds]` among
    it, and `progress` with the counters `env_steps` and `updates`, which all seeds share.
    """

    label: str
    """What the progress bar calls the run."""
    bad_limit: int
    """Updates in a row that are not finite, after which a seed is updated no more; 0: never."""

    def __init__(self, config: Options, session: Session, store: CheckpointStore) -> None:
        """Hold what a run needs; nothing is computed or written."""
        self.config, self.session, self.store = config, session, store
        self.console, self.directory = session.console, session.directory
        self.left_alone: set[int] = set()  # seeds whose numbers have gone bad, as far as it was said

    def announce(self, sizes: dict[str, Any], growing: Growing) -> None:
        """Print what one seed's parts `sizes` will occupy, and make the directory that of a run.

        Raises:
            ConfigError: the state does not fit into memory; names `growing` if that would help.
            RunError: the directory cannot be written.
        """
        devices = seed_devices(self.config.num_seeds)
        self.console.print(state_table(sizes, self.config.num_seeds))
        if devices > 1:
            self.say(f"devices     {devices}, {self.config.num_seeds // devices} of the seeds on each")
        if self.config.env_devices > 1:
            self.say(f"devices     {self.config.env_devices}, which share the environments")
        require_memory(self.config.num_seeds // devices, sizes, growing)
        if processes.writes():
            self.directory.write_config(self.config)  # from here on it is a run, which keeps its options

    def begin(self, init: Callable[[Key], Any] | None, template: Any) -> None:
        """Start with `init`, or resume where that is None; `template` is the state's shape.

        Raises:
            RunError: no checkpoint fits.
        """
        self.resumed_at: int | None = None
        if init is None:
            self.state, self.resumed_at = self.store.restore(template)
            self.say(f"resumed at {self.resumed_at:,} of {self.config.steps:,} environment steps")
        else:
            self.state = init(seed_keys(self.config))
        self.written = self.seed_paths if processes.writes() else []
        self.writers = [MetricsWriter(path, self.resumed_at) for path in self.written]
        self.clock = WallClock(self.directory.path, self.resumed_at) if self.written else None

    @property
    def seed_paths(self) -> list[Path]:
        """The directory of each seed."""
        config = self.config
        return [self.directory.seed_directory(i, config.num_seeds, config.seed) for i in range(config.num_seeds)]

    @property
    def env_steps(self) -> int:
        """Environment steps of each seed so far."""
        return int(self.state.progress.env_steps)

    def say(self, line: str) -> None:
        """Print a line."""
        self.session.say(line)

    def fetch(self, tree: Any) -> Any:
        """Device arrays as numpy's, those of other processes' seeds among them."""
        return fetch(tree, self.config.num_seeds)

    @abstractmethod
    def epoch(self) -> None:
        """Replace `state` by the state an epoch later, and log what happened in it."""

    @abstractmethod
    def evaluate(self, write: bool = True) -> Evaluation:
        """Evaluate all seeds as they are; the result has a leading seed axis."""

    @abstractmethod
    def draw(self, evaluation: Evaluation) -> None:
        """All pictures of all seeds, in `media/` and in TensorBoard."""

    def success(self, evaluation: Evaluation) -> float | None:
        """What the progress bar shows as success, 0 to 1; None: nothing."""
        del evaluation
        return None

    def run(self) -> Evaluation:
        """Train to the end, and return the last evaluation.

        Of several processes each does all of it but writing.

        Raises:
            StoppedError: the run was asked to stop, and is saved.
            NumbersError: no seed is left whose numbers are finite.
            DiskError: the disk refuses, or the directory has gone.
        """
        config, evaluation = self.config, None
        updates_before = int(self.state.progress.updates)
        label = self.label + (f" x{config.num_seeds}" if config.num_seeds > 1 else "")
        with ProgressBar(label, config.steps, self.env_steps, self.console) as bar, self.session.training():
            while self.env_steps < config.steps:
                before = self.env_steps
                self.epoch()
                last, began = self.env_steps >= config.steps, time.monotonic()
                if last or self._due(config.eval_every, before):
                    evaluation = self.evaluate()
                evaluating = time.monotonic() - began
                updates = int(self.state.progress.updates) - updates_before
                bar.update(self.env_steps, updates, None if evaluation is None else self.success(evaluation))
                if self.clock:
                    self.clock.write(self.env_steps, bar.steps_per_second, bar.updates_per_second, evaluating)
                self._save_when_due(before, last)
                if config.media_every and (last or self._due(config.media_every, before)):
                    self.draw(self.evaluate(write=False) if evaluation is None else evaluation)
        for writer in self.writers:
            writer.close()
        return evaluation if evaluation is not None else self.evaluate(write=False)

    def _due(self, period: int, before: int) -> bool:
        """Whether a multiple of `period` environment steps was passed in the last epoch."""
        return self.env_steps // period > before // period

    def _save_when_due(self, before: int, last: bool) -> None:
        """Save, unless nothing finite is left, and leave when asked to; the last epoch is finished in any case."""
        self.session.check()
        bad = self.fetch(self.state.seed.bad_updates)
        self._tell_of_bad_numbers(bad)
        stopping = self.session.stopping  # asked once: a signal that comes during the save waits for the next epoch
        if last or stopping or self._due(self.config.checkpoint_every, before):
            self.store.save(self.env_steps, self.state, good=not bad.any())
        if stopping and not last:
            self.session.leave(self.env_steps)

    def _tell_of_bad_numbers(self, bad: np.ndarray) -> None:
        """Name the seeds `[num_seeds]` that are updated no more.

        Raises:
            NumbersError: that is all of them.
        """
        stopped = set(np.flatnonzero(bad >= self.bad_limit).tolist()) if self.bad_limit else set()
        good = self.store.last_good()
        kept = "there is no good checkpoint" if good is None else f"last good checkpoint: {self.store.folder(good)}"
        for index in sorted(stopped - self.left_alone):
            seed = self.config.seed + index
            reason = f"{bad[index]} updates in a row were not finite"
            self.say(f"seed {seed} is updated no more at {self.env_steps:,} steps: {reason}; {kept}")
        self.left_alone = stopped
        if len(stopped) == len(bad):
            raise NumbersError(
                f"the numbers of every seed went bad by {self.env_steps:,} steps: {self.bad_limit} "
                f"updates in a row were not finite; {kept}. A run with smaller learning rates may do better"
            )
