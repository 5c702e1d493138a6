"""Ant without a reward: a four-legged ant on an endless floor of random tiles."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from envs import raster
from envs.base import ExplorationEnvironment
from envs.mujoco import ant, sketch, tiles
from envs.mujoco.engine import PhysicsState, last_good, load_model, make_engine
from envs.splits import split_key

CELL = 5.0
"""Edge of a grid-oracle cell, metres."""

FLOOR = 200.0
"""Half the edge of the published floor, metres; here the floor has no end."""

START = 100.0
"""Episodes start within this distance from the middle along each axis, metres."""

HEALTHY = (0.2, 1.0)
"""Heights of the torso, metres, outside of which an episode ends."""

SUBSTEPS = 5
EPISODE_STEPS = 1001

_REACH = 2 * FLOOR  # no ant comes farther in an episode, metres
_MAP_SIZE, _MAP_WIDTH = 102, 16.0  # pixels, metres
_TRACK, _MARK = (255, 60, 0), (40, 90, 230)


@struct.dataclass
class EnvState(environment.EnvState):
    """The ant and its floor."""

    time: jax.Array  # [] int32, agent steps since the reset
    physics: PhysicsState
    tiles: jax.Array  # [] uint32, which tile shows which pattern


@struct.dataclass
class EnvParams(environment.EnvParams):
    """What can be changed without recompiling."""

    max_steps_in_episode: int = EPISODE_STEPS
    split: int | jax.Array = 1  # index into `envs.splits.SPLITS`


class AntNoReward(ExplorationEnvironment[EnvState, EnvParams]):
    """An ant that is paid nothing and feels only its body; `view` is what it sees.

    Observation: `[27]` float32, height, orientation as a quaternion w x y z, 8 joints in radians, then 14 velocities.
    Where it is, x and y, is hidden.

    Action: `[8]` float32 in [-1, 1], torques in units of 150 Nm: hip and ankle of legs 4, 1, 2, 3.

    Reward: 0.

    Termination: the torso is lower than 0.2 m or higher than 1 m, or the physics has no finite answer, in which case
    the state before is kept. Truncation after 1001 steps of 0.05 s.

    Start: x and y uniform in [-100, 100], the model's own pose plus noise, U(-0.1, 0.1) on positions and 0.1 N(0, 1) on
    velocities, and tiles drawn anew. `params.split` chooses one of four disjoint streams of these.

    View: `[height, width, 3]` uint8, by a camera at the torso's centre that looks ahead and 32 degrees down, 45 degrees
    from top to bottom. It shows the floor, of which 20 x 20 tiles of 4 m repeat, and the sky, not the ant's legs.

    Info: `position` `[3]`, the ant's centre of mass in metres; `reachable_cells`, the number of cells of 5 m on the
    published floor of 400 x 400 m, of which no episode sees more than a few; `task_reward`, 0; `respawned`, False.

    Source: Savinov et al., "Episodic Curiosity through Reachability" (ICLR 2019). Contacts by spheres at the ends of
    the limbs and procedural patterns in place of pictures are ours.

    Args:
        physics: `mjx`, `mujoco` (C) or `auto`, which is MJX on an accelerator and C on a CPU.
        height: of the view, pixels.
        width: of the view, pixels.

    Example:
        >>> env = AntNoReward(physics="mujoco")
        >>> params = env.default_params
        >>> obs, state = env.reset(jax.random.key(0), params)
        >>> obs, state, reward, terminated, truncated, info = env.step(jax.random.key(1), state, jnp.zeros(8), params)
        >>> picture = env.view(state)

    Raises:
        ValueError: no such physics, or a view without pixels.
    """

    def __init__(self, physics: str = "auto", height: int = 120, width: int = 160) -> None:
        if min(height, width) < 1:
            raise ValueError(f"a view of {height} x {width} cannot be drawn: use at least 1 x 1")
        self.model = load_model("ant_plane")
        self.engine = make_engine(self.model, SUBSTEPS, physics)
        self._camera = tiles.make_camera(height, width)

    @property
    def physics(self) -> str:
        """Which engine computes the physics: `mjx` or `mujoco`."""
        return self.engine.name

    @property
    def default_params(self) -> EnvParams:
        """The published task, from the stream for training policies."""
        return EnvParams()

    @property
    def num_actions(self) -> int:
        """Length of the action."""
        return self.model.nu

    def action_space(self, params: EnvParams | None = None) -> spaces.Box:
        """One number in [-1, 1] per motor."""
        return spaces.Box(-jnp.ones(self.num_actions), jnp.ones(self.num_actions), (self.num_actions,), jnp.float32)

    def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
        """Unbounded."""
        size = self.model.nq + self.model.nv - 2
        return spaces.Box(jnp.full(size, -jnp.inf), jnp.full(size, jnp.inf), (size,), jnp.float32)

    @property
    def position_bounds(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Farther than an ant gets in an episode, metres."""
        return (-_REACH, -_REACH, 0.0), (_REACH, _REACH, HEALTHY[1])

    def reset_env(self, key: jax.Array, params: EnvParams) -> tuple[jax.Array, EnvState]:
        """Starts an episode: obs and state."""
        body_key, place_key, tiles_key = jax.random.split(split_key(key, params.split), 3)
        physics = ant.noisy_start(self.model, body_key)
        place = jax.random.uniform(place_key, (2,), minval=-START, maxval=START)
        physics = dataclasses.replace(physics, qpos=physics.qpos.at[:2].add(place))
        state = EnvState(jnp.zeros((), jnp.int32), physics, jax.random.bits(tiles_key, (), jnp.uint32))
        return self.observe(key, state, None, params), state

    def step_env(
        self, key: jax.Array, state: EnvState, action: float | jax.Array, params: EnvParams
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, dict[Any, Any]]:
        """One agent step without automatic reset: obs, state, reward `[]`, terminated `[]`, info."""
        action = jnp.clip(jnp.asarray(action, jnp.float32), -1.0, 1.0)
        physics, good = last_good(self.engine.step(state.physics, action), state.physics)
        state = dataclasses.replace(state, physics=physics, time=state.time + 1)
        height = physics.qpos[2]
        terminated = ~good | (height < HEALTHY[0]) | (height > HEALTHY[1])
        info = {
            "position": self.position(state),
            "reachable_cells": jnp.int32((2 * int(FLOOR / CELL) - 1) ** 2),
            "task_reward": jnp.zeros(()),
            "respawned": jnp.asarray(False),
        }
        obs, state = self._apply_transition_gradient_policy(self.observe(key, state, action, params), state)
        return obs, state, jnp.zeros(()), terminated, info

    def observe(
        self, key: jax.Array, state: EnvState, action: float | jax.Array | None, params: EnvParams
    ) -> jax.Array:
        """What the ant feels, `[27]`."""
        return jnp.concatenate([state.physics.qpos[2:], state.physics.qvel])

    def position(self, state: EnvState) -> jax.Array:
        """The centre of mass, `[3]` metres."""
        return ant.centre_of_mass(self.model, state.physics.qpos)

    def view(self, state: EnvState) -> jax.Array:
        """What the ant sees, `[height, width, 3]` uint8."""
        return tiles.first_person(self._camera, state.physics.qpos, state.tiles)

    def render(self, state: EnvState, track: jax.Array | None = None, marks: jax.Array | None = None) -> jax.Array:
        """The floor around the ant from above, uint8; `track [T, 3]` and `marks [M, 3]` are positions as in `info`."""
        qpos = state.physics.qpos
        canvas = raster.blank(_MAP_SIZE, qpos[:2], _MAP_WIDTH, (0, 0, 0))
        color = tiles.floor_color(state.tiles, canvas.centres[..., 0], canvas.centres[..., 1], 0.5)
        canvas = canvas._replace(picture=255 * jnp.stack(color, axis=-1))
        if track is not None:
            canvas = canvas._replace(picture=_dots(canvas, qpos, track, (0,), _TRACK))
        if marks is not None:
            canvas = canvas._replace(picture=_dots(canvas, qpos, marks, (-1, 0, 1), _MARK))
        return raster.finish(sketch.ant_body(canvas, qpos))


def _dots(
    canvas: raster.Canvas, qpos: jax.Array, places: jax.Array, offsets: tuple[int, ...], color: tuple[int, int, int]
) -> jax.Array:
    """The picture with squares at `places [T, 3]`, as many pixels wide as there are offsets."""
    corner = qpos[:2] + jnp.array([-0.5, 0.5]) * _MAP_WIDTH
    middle = jnp.floor((places[:, :2] - corner) * jnp.array([1.0, -1.0]) / canvas.scale)
    picture = canvas.picture
    for dx in offsets:
        for dy in offsets:
            place = middle + jnp.array([dx, dy])
            seen = ((place >= 0) & (place < _MAP_SIZE)).all(axis=-1)  # NaN is not
            column, row = jnp.where(seen[:, None], place, _MAP_SIZE).astype(jnp.int32).T
            picture = picture.at[row, column].set(jnp.array(color, jnp.float32), mode="drop")
    return picture
