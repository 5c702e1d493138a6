"""A small environment to explore: a corridor with a reward at its far end."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import spaces

from envs.base import ExplorationEnvironment
from peg_jax.curiosity.config import CuriosityConfig, NetworkConfig, OracleConfig, PPOConfig
from peg_jax.curiosity.task import Task, make_task

LENGTH, STEPS = 12, 24


@struct.dataclass
class State:
    time: jax.Array
    place: jax.Array
    start: jax.Array  # 0 or 1, drawn at the reset


@struct.dataclass
class Params:
    max_steps_in_episode: int = STEPS
    split: int = 0  # has no meaning here


class Corridor(ExplorationEnvironment[State, Params]):
    """Left or right; the end pays 1 per step spent there."""

    position_bounds = ((0.0, 0.0, 0.0), (float(LENGTH), 0.0, 0.0))

    def action_space(self, params: Any = None) -> spaces.Discrete:
        return spaces.Discrete(2)

    def observation_space(self, params: Any = None) -> spaces.Box:
        return spaces.Box(0.0, 1.0, (LENGTH,), jnp.float32)

    def observe(self, key: Any, state: State, action: Any, params: Any) -> jax.Array:
        return jax.nn.one_hot(state.place, LENGTH)

    def position(self, state: State) -> jax.Array:
        return jnp.stack([state.place + 0.5, jnp.float32(0), jnp.float32(0)])

    def render(self, state: State, track: Any = None, marks: Any = None) -> jax.Array:
        return jnp.zeros((2, 2, 3), jnp.uint8)

    def reset_env(self, key: jax.Array, params: Any) -> tuple[jax.Array, State]:
        place = jax.random.randint(key, (), 0, 2)
        state = State(jnp.int32(0), place, place)
        return self.observe(key, state, None, params), state

    def step_env(self, key: Any, state: State, action: Any, params: Any) -> tuple:
        place = jnp.clip(state.place + 2 * action - 1, 0, LENGTH - 1)
        state = State(state.time + 1, place, state.start)
        reward = (place == LENGTH - 1).astype(jnp.float32)
        info = {
            "position": self.position(state),
            "task_reward": reward,
            "reachable_cells": jnp.int32(LENGTH),
            "respawned": jnp.asarray(False),
        }
        return self.observe(key, state, action, params), state, reward, jnp.asarray(False), info


class SeenCorridor(Corridor):
    """The same with a view: places differ in colour, neighbours little."""

    def view(self, state: State) -> jax.Array:
        shade = 20.0 * state.place
        return jnp.broadcast_to(jnp.stack([shade, 255 - shade, 4.0 * state.time]), (8, 8, 3)).astype(jnp.uint8)


def corridor(**numbers: Any) -> tuple[Task, CuriosityConfig]:
    """The task and a configuration of its size."""
    config = CuriosityConfig(
        network=NetworkConfig(mlp=(32,)),
        ppo=PPOConfig(num_envs=8, rollout=24, decay=False, learning_rate=3e-3, entropy=0.01, clip=0.2),
        oracle=OracleConfig(cell=1.0, norm=1.0),
    ).replace(**numbers)
    return make_task(Corridor(), Params(), config.oracle), config
