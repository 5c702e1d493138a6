"""Methods by name: which bonus is added to the task's reward, and the published numbers that go with it."""

from typing import Any, NamedTuple

from peg_jax.curiosity import intrinsic, reachability
from peg_jax.curiosity.icm import icm
from peg_jax.curiosity.intrinsic import MakeBonus


class Method(NamedTuple):
    """A method."""

    make_bonus: MakeBonus
    numbers: dict[str, Any]  # dotted fields of `CuriosityConfig`, as in the released code


_CURIOUS = {"ppo.learning_rate": 2.5e-4, "ppo.entropy": 2.053525026457146e-3}  # `bonus.settings` has the rest

METHODS: dict[str, Method] = {
    "ppo": Method(
        intrinsic.no_bonus, {"ppo.learning_rate": 1.9306977288832496e-4, "ppo.entropy": 1.0941138105771857e-3}
    ),
    "ppo_plus_grid_oracle": Method(
        intrinsic.grid_oracle,
        {"ppo.learning_rate": 2.5e-4, "ppo.entropy": 6.6116902624148155e-3, "reward.bonus": 0.05246913580246913},
    ),
    "ppo_plus_ec": Method(reachability.bonus_before, _CURIOUS),
    "ppo_plus_eco": Method(reachability.bonus_beside, _CURIOUS),
    # PPO's numbers for this method are not published: the default rate, and the entropy of `ppo`.
    "ppo_plus_icm": Method(
        icm, {"ppo.learning_rate": 2.5e-4, "ppo.entropy": 1.0941138105771857e-3, "reward.bonus": 1.0}
    ),
}
