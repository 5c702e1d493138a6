"""A tiny world and tiny agents, shared by the tests of this folder."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from peg_jax.core.environment import Task, make_task
from peg_jax.core.replay import Episode
from peg_jax.peg.config import (
    ActorCriticConfig,
    AgentConfig,
    DisagreementConfig,
    DistanceConfig,
    ImaginationConfig,
    LoopConfig,
    PEGConfig,
    PlannerConfig,
    ReplayConfig,
    WorldModelConfig,
)
from peg_jax.peg.networks import Spec

SIZE = 2  # of observations, goals and continuous actions


class Box(NamedTuple):
    low: Any
    high: Any
    shape: tuple[int, ...]


class Discrete(NamedTuple):
    n: int


class DotParams(NamedTuple):
    max_steps_in_episode: int = 6


class DotState(NamedTuple):
    position: jax.Array  # [2]
    goal: jax.Array  # [2]


class Dot:
    """A dot in the square [-2, 2]^2, moved by a tenth of its action. Its own goals lie on the line x = 1.

    Written against the protocol alone: nothing here comes from an environment package.
    """

    def __init__(self, discrete: bool = False) -> None:
        self.discrete = discrete

    def reset_env(self, key: jax.Array, params: DotParams) -> tuple[jax.Array, DotState]:
        position_key, goal_key = jax.random.split(key)
        position = 0.1 * jax.random.normal(position_key, (SIZE,))
        return position, DotState(position, self.sample_goals(goal_key, 1, params)[0])

    def step_env(
        self, key: jax.Array, state: DotState, action: jax.Array, params: DotParams
    ) -> tuple[jax.Array, DotState, jax.Array, jax.Array, dict[str, jax.Array]]:
        moves = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
        move = moves[action] if self.discrete else action
        position = jnp.clip(state.position + 0.1 * move, -2.0, 2.0)
        state = state._replace(position=position)
        metrics = {f"metric_{k}": v for k, v in self.success(position, state.goal).items()}
        return position, state, jnp.zeros(()), jnp.zeros((), bool), metrics

    def action_space(self, params: DotParams) -> Any:
        return Discrete(3) if self.discrete else Box(jnp.full(SIZE, -1.0), jnp.full(SIZE, 1.0), (SIZE,))

    def observation_space(self, params: DotParams) -> Box:
        return Box(-2.0, 2.0, (SIZE,))

    def goal_space(self, params: DotParams) -> Box:
        return Box(-2.0, 2.0, (SIZE,))

    def achieved_goal(self, obs: jax.Array) -> jax.Array:
        return obs

    def desired_goal(self, state: DotState) -> jax.Array:
        return state.goal

    def eval_goals(self, params: DotParams) -> jax.Array:
        return jnp.array([[1.0, 0.0], [0.0, 0.0]])

    def reset_to_eval_goal(
        self, key: jax.Array, goal_index: jax.Array, params: DotParams
    ) -> tuple[jax.Array, DotState]:
        obs, state = self.reset_env(key, params)
        return obs, state._replace(goal=self.eval_goals(params)[goal_index])

    def sample_goals(self, key: jax.Array, n: int, params: DotParams) -> jax.Array:
        return jnp.stack([jnp.ones(n), jax.random.uniform(key, (n,), minval=-1.0)], axis=-1)

    def success(self, achieved: jax.Array, desired: jax.Array) -> dict[str, jax.Array]:
        distance = self.distance(achieved, desired)
        return {"success": distance < 0.05, "near": distance < 0.75}

    def distance(self, achieved: jax.Array, desired: jax.Array) -> jax.Array:
        return jnp.linalg.norm(achieved - desired, axis=-1)

    def remoteness(self, achieved: jax.Array, start: jax.Array) -> jax.Array:
        return self.distance(achieved, start)


def make_dot(steps: int = 6, discrete: bool = False) -> Task:
    return make_task(Dot(discrete), DotParams(steps))


def agent_config(**changes: Any) -> AgentConfig:
    """A tiny agent; `changes` replace whole parts."""
    policy = ActorCriticConfig(layers=1, units=6)
    parts: dict[str, Any] = {
        "world_model": WorldModelConfig(deter=6, stoch=4, hidden=6, units=6, encoder_layers=1, decoder_layers=1),
        "imagination": ImaginationConfig(horizon=3),
        "distance": DistanceConfig(layers=1, units=6, positives=8, negative_factor=0.25),
        "achiever": policy,
        "explorer": policy,
        "disagreement": DisagreementConfig(members=3, layers=1, units=6),
    }
    return AgentConfig(**parts | changes)


def config(agent: AgentConfig | None = None, **changes: Any) -> PEGConfig:
    """A tiny run: two environments, episodes of 6 steps learnt from in two bursts of one update."""
    parts: dict[str, Any] = {
        "planner": PlannerConfig(
            kind="cem", candidates=10, iterations=2, horizon=4, final_steps=2, init_mean=(0.0, 0.0), std_scale=1.0
        ),
        "replay": ReplayConfig(capacity=60, batch=3, length=4),
        "loop": LoopConfig(num_envs=2, prefill=4, pretrain=2, train_every=3, updates_per_burst=1, goal_update_every=4),
    }
    return PEGConfig(agent=agent or agent_config(), **parts | changes)


def spec(discrete: bool = False) -> Spec:
    return Spec(SIZE, 3 if discrete else SIZE, discrete)


def random_batch(key: jax.Array, length: int = 4, size: int = 3, actions: int = SIZE) -> Episode:
    """Time-major sequences of noise."""
    obs, action, goal = jax.random.split(key, 3)
    return Episode(
        jax.random.normal(obs, (length, size, SIZE)),
        jax.random.uniform(action, (length, size, actions), minval=-1.0),
        jax.random.normal(goal, (length, size, SIZE)),
    )


def replace(tree: Any, path: str, value: Any) -> Any:
    """`tree` with the field at a dotted path replaced: `replace(config, "loop.num_envs", 3)`."""
    field, _, rest = path.partition(".")
    inner = replace(getattr(tree, field), rest, value) if rest else value
    return dataclasses.replace(tree, **{field: inner})
