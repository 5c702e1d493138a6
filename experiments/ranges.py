"""What a search may choose: `planner.discount=0.9:0.99`, `planner.candidates=50:500:log`, `planner.kind=cem,mppi`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from peg_jax.core.config import ConfigError, require

Choice = float | int | str


class Range(NamedTuple):
    """The values of an option."""

    option: str
    choices: tuple[str, ...] = ()  # these, or the numbers between
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False  # whole numbers alone

    def suggest(self, trial: Any) -> Choice:
        """What an Optuna trial takes."""
        if self.choices:
            chosen: Choice = trial.suggest_categorical(self.option, self.choices)
        elif self.whole:
            chosen = trial.suggest_int(self.option, int(self.low), int(self.high), log=self.log)
        else:
            chosen = trial.suggest_float(self.option, self.low, self.high, log=self.log)
        return chosen

    def entry(self, value: Choice) -> str:
        """The option with a value, as it is typed."""
        return f"{self.option}={f'{value:.6g}' if isinstance(value, float) else value}"

    def ends(self) -> tuple[Choice, ...]:
        """The values that stand for all others where an option is validated."""
        return self.choices or ((int(self.low), int(self.high)) if self.whole else (self.low, self.high))


def parse_range(entry: str, usual: Mapping[str, Any]) -> Range:
    """A range as it is typed.

    Args:
        entry: `option=low:high`, `option=low:high:log` or `option=one,other`.
        usual: the options' usual values by name, which tell whole numbers.

    Raises:
        ConfigError: it is none.
    """
    option, _, values = entry.lstrip("-").partition("=")
    if "," in values:
        return Range(option, tuple(values.split(",")))
    value = usual.get(option.replace("-", "_"))
    whole = isinstance(value, int) and not isinstance(value, bool)
    remedy = "a range is option=low:high, option=low:high:log or option=one,other"
    try:
        first, last, *kind = values.split(":")
        low, high = ((int if whole else float)(end) for end in (first, last))
    except ValueError:
        hint = f"{remedy}; {option} takes whole numbers" if whole else remedy
        raise ConfigError(f"--search={entry} cannot work: {hint}") from None
    require(kind in ([], ["log"]), "search", entry, remedy)
    require(low < high, "search", entry, "the lower end comes first")
    require(not kind or low > 0, "search", entry, "a logarithmic range begins above 0")
    return Range(option, (), low, high, bool(kind), whole)
