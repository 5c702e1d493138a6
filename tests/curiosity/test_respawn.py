"""A goal reached moves the agent within its episode, whose memory stays (episodic_curiosity.md section 7, point 5).

That the mazes keep layout, goal and clock is in `tests/envs/maze3d/test_env.py`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from peg_jax.core.types import Array, Key
from peg_jax.curiosity import reachability, rollout
from peg_jax.curiosity.config import CuriosityConfig, OracleConfig, PPOConfig
from peg_jax.curiosity.intrinsic import Judged
from peg_jax.curiosity.networks import Policy
from peg_jax.curiosity.reachability_config import BonusConfig, MemoryConfig, ReachabilityConfig
from peg_jax.curiosity.rollout import Collector, Rollout
from peg_jax.curiosity.task import make_task
from tests.curiosity.corridor import LENGTH, STEPS, Params, SeenCorridor, State
from tests.curiosity.small import CONFIG

ENVS, ROLLOUT = 8, 16
EVERYTHING = BonusConfig(threshold=2.0)  # is remembered
CURIOUS = CuriosityConfig(
    ppo=PPOConfig(num_envs=ENVS, rollout=ROLLOUT),
    oracle=OracleConfig(cell=1.0, norm=1.0),
    reachability=ReachabilityConfig(network=CONFIG, memory=MemoryConfig(capacity=STEPS), bonus=EVERYTHING),
)


class Lives(SeenCorridor):
    """A corridor whose end is a goal: from there the agent is put back to the start."""

    def step_env(self, key: Any, state: State, action: Any, params: Any) -> tuple:
        _, state, reward, terminated, info = super().step_env(key, state, action, params)
        reached = reward > 0
        state = dataclasses.replace(state, place=jnp.where(reached, state.start, state.place))
        return self.observe(key, state, action, params), state, reward, terminated, info | {"respawned": reached}


def test_memory_and_oracle_outlive_a_respawn_and_end_with_the_episode() -> None:
    """Always to the right: an episode of 24 steps has two respawns, and its end lies in the second rollout of 16."""
    task = make_task(Lives(), Params(), CURIOUS.oracle)
    bonus = reachability.bonus_before(task, CURIOUS)
    right = Policy(jnp.tile(jnp.array([-1e9, 0.0]), (ENVS, 1)), jnp.zeros(0), jnp.zeros(ENVS))

    @jax.jit
    def run(key: Key) -> tuple[Collector, Rollout, Judged, Array]:
        def part(carry: tuple, index: Array) -> tuple[tuple, tuple[Rollout, Judged]]:
            collector, state = carry
            collector, taken = rollout.collect(task, CURIOUS.ppo, lambda *_: right, None, collector, key, looks=True)
            judged = bonus.judge(state, taken, collector, index * ROLLOUT, key)
            return (collector, judged.state), (taken, judged)

        start = rollout.start(task, ENVS, key)
        (end, _), parts = jax.lax.scan(part, (start, bonus.init(key, start)), jnp.arange(2))
        return end, *parts, start.env.start

    end, taken, judged, start = jax.device_get(run(jax.random.key(0)))
    done, respawned, new, paid = (
        x.reshape(2 * ROLLOUT, ENVS) for x in (taken.done, taken.respawned, taken.new_cell, judged.bonus)
    )
    step, way = np.arange(2 * ROLLOUT)[:, None] + np.zeros(ENVS, int), LENGTH - 1 - start
    assert set(start) == {0, 1}
    np.testing.assert_array_equal(done, step == STEPS - 1)
    np.testing.assert_array_equal(respawned, (step == way - 1) | (step == 2 * way - 1))
    np.testing.assert_array_equal(new, (step < way) | (step >= STEPS))  # on the first way and in the next episode
    np.testing.assert_array_equal(end.visited.sum(1), 2 * ROLLOUT - STEPS)
    np.testing.assert_array_equal(paid == 0, done)  # a respawn's step is paid for

    # After the first rollout all since before the first step; then all since the next episode's first view.
    for part, first in enumerate((-1, STEPS - 1)):
        entries, memory = np.arange(first, (part + 1) * ROLLOUT), judged.state.memory
        np.testing.assert_array_equal(memory.inserted[part], [len(entries)] * ENVS)
        np.testing.assert_array_equal(memory.entries.step[part, :, : len(entries)], [entries] * ENVS)
