"""Our environments for code that acts through gymnasium: one at a time, or many as one compiled program.

gymnasium's environments keep their state to themselves and take seeds instead of keys; both is done here, on the host.
Lane `i` of a `GymnasiumVectorEnv` with seed `s` has the episodes of a `GymnasiumEnv` with seed `s + i`.
"""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from gymnax.environments.spaces import gymnax_space_to_gym_space

from envs.base import ExplorationEnvironment, GoalEnvironment

Environment = GoalEnvironment[Any, Any] | ExplorationEnvironment[Any, Any]
KEYS = 2**31  # keys are made of this many integers


class Bridge:
    """An environment's functions as gymnasium wants them, without state.

    Args:
        env: the environment.
        params: its parameters; without, its defaults.
    """

    def __init__(self, env: Environment, params: Any = None) -> None:
        self.env = env
        self.params = env.default_params if params is None else params
        self.episode_steps = int(self.params.max_steps_in_episode)

    def observation(self, obs: jax.Array, state: Any) -> Any:
        """With goals, `observation`, `achieved_goal` and `desired_goal`; without, the observation itself."""
        if not isinstance(self.env, GoalEnvironment):
            return obs
        achieved, desired = self.env.achieved_goal(obs), self.env.desired_goal(state)
        return {"observation": obs, "achieved_goal": achieved, "desired_goal": desired}

    def observation_space(self) -> gymnasium.Space[Any]:
        """The space of `observation`; goals may lie anywhere, planner bounds do not hold them back."""
        space = gymnax_space_to_gym_space(self.env.observation_space(self.params))
        if not isinstance(self.env, GoalEnvironment):
            return space
        goal = gymnasium.spaces.Box(-np.inf, np.inf, self.env.goal_space(self.params).shape, np.float32)
        return gymnasium.spaces.Dict({"observation": space, "achieved_goal": goal, "desired_goal": goal})

    def action_space(self) -> gymnasium.Space[Any]:
        """The environment's own."""
        return gymnax_space_to_gym_space(self.env.action_space(self.params))

    def reset(self, key: jax.Array, goal_index: jax.Array) -> tuple[Any, Any]:
        """An episode's observation and state, toward evaluation goal `goal_index`; -1 leaves the goal to chance."""
        key = jax.random.fold_in(key, 0)
        if isinstance(self.env, GoalEnvironment):
            obs, state = jax.lax.cond(
                goal_index < 0,
                lambda: self.env.reset_env(key, self.params),
                lambda: self.env.reset_to_eval_goal(key, goal_index, self.params),
            )
        else:
            obs, state = self.env.reset_env(key, self.params)
        return self.observation(obs, state), state

    def step(self, key: jax.Array, state: Any, action: jax.Array) -> tuple[Any, Any, jax.Array, jax.Array, Any]:
        """Observation, state, reward, whether the episode has come to its natural end, and info."""
        step_key = jax.random.fold_in(key, state.time + 1)
        obs, state, reward, terminated, info = self.env.step_env(step_key, state, action, self.params)
        return self.observation(obs, state), state, reward.astype(jnp.float32), terminated, info

    def picture(self, obs: Any, state: Any) -> jax.Array:
        """A picture of a moment, uint8 `[H, W, 3]`."""
        if isinstance(self.env, GoalEnvironment):
            return self.env.render(obs["observation"], obs["desired_goal"], self.params)
        return self.env.render(state)


class GymnasiumEnv(gymnasium.Env[Any, Any]):
    """One of our environments as a gymnasium environment.

    Observation: a dictionary of `observation [O]`, `achieved_goal [D]` and `desired_goal [D]` where there are goals,
    as goal-conditioned agents expect; else the observation itself, a picture. Action, reward and terminations are the
    environment's own; episodes are truncated at their fixed length. `info` is the environment's, among it
    `metric_<name>`.

    `reset(options={"goal_index": i})` starts an evaluation episode.

    Args:
        env: the environment.
        params: its parameters; without, its defaults.
        render_mode: "rgb_array" or None.

    Example:
        >>> env = GymnasiumEnv(envs.make("point_maze")[0])
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
    """

    def __init__(self, env: Environment, params: Any = None, render_mode: str | None = None) -> None:
        bridge = Bridge(env, params)
        self.bridge, self.render_mode = bridge, render_mode
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 20}
        self.observation_space, self.action_space = bridge.observation_space(), bridge.action_space()
        self._reset, self._step, self._picture = jax.jit(bridge.reset), jax.jit(bridge.step), jax.jit(bridge.picture)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; `options` may hold `goal_index`, an evaluation goal's number."""
        super().reset(seed=seed)
        self._key = jax.random.key(int(self.np_random.integers(KEYS)))
        self._steps = 0
        self._obs, self._state = self._reset(self._key, _goal_index(options))
        return _on_host(self._obs), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Observation, reward, terminated, truncated, info."""
        self._obs, self._state, reward, terminated, info = self._step(self._key, self._state, jnp.asarray(action))
        self._steps += 1
        truncated = self._steps >= self.bridge.episode_steps
        return _on_host(self._obs), float(reward), bool(terminated), truncated, _on_host(info)

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> np.ndarray:
        """Rewards `[...]` of steps that led to `achieved_goal [..., D]` toward `desired_goal [..., D]`, to relabel by.

        What agents with hindsight replay call; `info` is not looked at.

        Raises:
            TypeError: the environment has no goals.
            NotImplementedError: its reward does not follow from them.
        """
        if not isinstance(self.bridge.env, GoalEnvironment):
            raise TypeError(f"{self.bridge.env.name} has no goals, so no rewards that follow from them")
        return np.asarray(self.bridge.env.reward(jnp.asarray(achieved_goal), jnp.asarray(desired_goal)))

    def render(self) -> np.ndarray | None:
        """The moment as uint8 `[H, W, 3]`, in render mode "rgb_array"."""
        return np.array(self._picture(self._obs, self._state)) if self.render_mode == "rgb_array" else None


class GymnasiumVectorEnv(VectorEnv[Any, Any, np.ndarray]):
    """Many of one of our environments as a gymnasium vector environment, stepped by one compiled program.

    Observations and infos as in `GymnasiumEnv`, with a leading axis of lanes. As in gymnasium's own vector
    environments, the step after an episode's last one starts the next: its action is not used and its reward is 0.

    Args:
        env: the environment.
        num_envs: lanes.
        params: its parameters; without, its defaults.
    """

    def __init__(self, env: Environment, num_envs: int, params: Any = None) -> None:
        bridge = Bridge(env, params)
        self.bridge, self.num_envs = bridge, num_envs
        self.metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space, self.single_action_space = bridge.observation_space(), bridge.action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._step = jax.jit(jax.vmap(bridge.step))
        self._reset = jax.jit(jax.vmap(bridge.reset, in_axes=(0, None)))
        self._choose = jax.jit(jax.vmap(lambda new, a, b: jax.tree.map(lambda x, y: jnp.where(new, x, y), a, b)))
        self._lanes = [seeding.np_random(None)[0] for _ in range(num_envs)]

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every lane; lane i takes seed + i, or the seed that the list has for it.

        `options` are those of `GymnasiumEnv`, for these first episodes of the lanes.
        """
        seeds = seed if isinstance(seed, list) else [None if seed is None else seed + i for i in range(self.num_envs)]
        for lane, given in enumerate(seeds):
            if given is not None:
                self._lanes[lane] = seeding.np_random(given)[0]
        self._keys = self._new_keys(np.ones(self.num_envs, bool), None)
        self._over = np.zeros(self.num_envs, bool)
        self._steps = np.zeros(self.num_envs, int)
        obs, self._state = self._reset(self._keys, _goal_index(options))
        return _on_host(obs), {}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Observations, rewards `[E]`, terminations `[E]`, truncations `[E]` and infos."""
        began, self._over = self._over, np.zeros(self.num_envs, bool)
        obs, state, reward, terminated, info = self._step(self._keys, self._state, jnp.asarray(actions))
        if began.any():  # a reset may cost as much as many steps
            self._keys = self._new_keys(began, self._keys)
            obs, state = self._choose(began, self._reset(self._keys, _goal_index(None)), (obs, state))
        self._state, self._steps = state, np.where(began, 0, self._steps + 1)
        terminated, truncated = np.asarray(terminated) & ~began, self._steps >= self.bridge.episode_steps
        self._over = terminated | truncated
        return _on_host(obs), np.where(began, np.float32(0), reward), terminated, truncated, _on_host(info)

    def _new_keys(self, lanes: np.ndarray, before: jax.Array | None) -> jax.Array:
        """Keys of the episodes `[E]`, new ones in `lanes [E]` and those of `before` elsewhere."""
        drawn = [int(rng.integers(KEYS)) if new else 0 for rng, new in zip(self._lanes, lanes, strict=True)]
        keys = jax.vmap(jax.random.key)(jnp.array(drawn, jnp.uint32))
        return keys if before is None else jnp.where(lanes, keys, before)


def _goal_index(options: dict[str, Any] | None) -> jax.Array:
    """The evaluation goal that a reset asks for; -1 for none."""
    return jnp.int32((options or {}).get("goal_index", -1))


def _on_host(tree: Any) -> Any:
    return jax.tree.map(np.array, tree)
