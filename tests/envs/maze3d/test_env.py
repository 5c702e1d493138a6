"""The scenarios as gymnax environments: episodes, rewards, ends, splits and pixels."""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.lazily import only_where
from envs.maze3d import Television, coverage, renderer, sprites, textures
from envs.maze3d.collect import Collect
from envs.maze3d.explore import Explore
from envs.maze3d.puzzle import Puzzle
from envs.maze3d.rules import Episode, Rules
from envs.maze3d.television import overlay
from envs.maze3d.types import EnvState
from envs.splits import SPLITS, split_key

COUNT = 6


class Bench:
    """A scenario with its compiled functions, for a batch of `COUNT`; all that they return is in numpy's arrays."""

    def __init__(self, name: str, **options: Any) -> None:
        self.env, params = envs.make(f"maze3d_{name}", height=42, width=42, **options)
        self.params = dataclasses.replace(params, max_steps_in_episode=30)
        self.keys = jax.jit(lambda seed: jax.random.split(jax.random.key(seed), COUNT))
        self.reset = jax.jit(jax.vmap(self.env.reset_env, in_axes=(0, None)))
        self.step = jax.jit(jax.vmap(self.env.step, in_axes=(0, 0, 0, None)))
        # Without pictures and automatic reset, which take most of the time that a step compiles.
        self.step_env = jax.jit(jax.vmap(lambda *args: self.env.step_env(*args)[1:], in_axes=(0, 0, 0, None)))

    def start(self, seed: int = 0) -> tuple[np.ndarray, EnvState]:
        return jax.device_get(self.reset(self.keys(seed), self.params))

    def act(self, state: EnvState, name: str, seed: int = 1) -> tuple:
        """Observations, states, rewards, terminations, truncations and infos after an action."""
        return jax.device_get(self.step(self.keys(seed), state, self.actions(name), self.params))

    def act_unseen(self, state: EnvState, name: str) -> tuple:
        """States, rewards, terminations and infos after an action without automatic reset."""
        return jax.device_get(self.step_env(self.keys(1), state, self.actions(name), self.params))

    def actions(self, name: str) -> np.ndarray:
        return np.full(COUNT, self.env.actions.index(name))


def put(state: EnvState, pos: np.ndarray, yaw: float | None = None) -> EnvState:
    """Place all agents, at rest."""
    yaws = state.body.yaw if yaw is None else np.full(COUNT, yaw, np.float32)
    body = dataclasses.replace(state.body, pos=pos, velocity=np.zeros((COUNT, 2), np.float32), yaw=yaws)
    return dataclasses.replace(state, body=body)


@pytest.fixture(scope="module")
def doors() -> Bench:
    return Bench("sparseplusdoors", size=9, television=Television("noise", "action"))


@pytest.fixture(scope="module")
def puzzle() -> Bench:
    return Bench("dense1")


@pytest.fixture(scope="module")
def collect() -> Bench:
    return Bench("dense2")


def test_an_episode_is_cut_by_the_clock_and_a_fresh_one_follows(doors: Bench) -> None:
    obs, state = doors.start()
    assert obs.shape == (COUNT, 42, 42, 3) and obs.dtype == np.uint8
    first = state
    for step in range(30):
        obs, state, _, terminated, truncated, info = doors.act(state, "look_left", seed=step)
        assert not terminated.any()
        assert truncated.all() == (step == 29)
        same_maze = (state.maze.wall == first.maze.wall).all((1, 2))
        assert same_maze.all() if step < 29 else not same_maze.all()
    assert (state.time == 0).all()
    assert (info["final_observation"] != obs).any((1, 2, 3)).all()
    again, _ = doors.start()
    assert (again != obs).any()


def test_the_goal_pays_and_starts_another_life(doors: Bench) -> None:
    _, state = doors.start()
    there = put(state, state.objects.pos[:, 0])
    _, after, reward, terminated, truncated, info = doors.act(there, "look_left")
    assert reward.tolist() == [10.0] * COUNT
    assert info["task_reward"].tolist() == [10.0] * COUNT
    assert info["respawned"].all() and not (terminated | truncated).any()
    assert (after.collected == 1).all() and (after.time == 1).all()
    assert (after.maze.wall == state.maze.wall).all() and (after.objects.pos == state.objects.pos).all()
    x, y = after.body.pos.astype(int).T
    assert after.maze.spawn[np.arange(COUNT), y, x].all()
    np.testing.assert_allclose(info["position"][:, :2], 100 * there.body.pos)
    assert (after.door != state.door).any()
    _, _, reward, *_ = doors.act(after, "look_left")
    assert reward.tolist() == [0.0] * COUNT


def test_fire_changes_pixels_at_random_and_nothing_else(doors: Bench) -> None:
    _, state = doors.start()
    quiet = doors.act(state, "look_left")[1]
    views = [doors.act(quiet, "fire", seed=seed)[0].astype(int) for seed in (1, 2)]
    left = slice(0, 21)  # the television is at the lower right
    assert (np.abs(views[0] - views[1])[:, 30:, left].mean((1, 2, 3)) > 5).all()
    _, shot, reward, *_ = doors.act(quiet, "fire")
    for name in ("maze", "door", "objects", "collected", "body"):
        before, after = (jax.tree.leaves(getattr(s, name)) for s in (quiet, shot))
        assert all((a == b).all() for a, b in zip(before, after, strict=True))
    assert (shot.time == quiet.time + 1).all() and not reward.any()


def test_what_was_shot_at_looks_as_before_after_some_steps(doors: Bench) -> None:
    state = doors.act(doors.start()[1], "look_left")[1]
    shots = [doors.act(state, "fire", seed=seed)[1] for seed in (1, 2)]
    alike = []
    for name in ["look_right", "look_left"] * 3:  # the wall that was hit stays in view
        seen = [doors.act(shot, name) for shot in shots]
        shots = [after for _, after, *_ in seen]
        first, second = (view[:, :, :21] for view, *_ in seen)  # the television is at the right
        alike.append((first == second).all())
    assert not alike[0]
    assert alike[-1]


@pytest.mark.parametrize("shows", ["image", "noise"])
@pytest.mark.parametrize("switches", ["step", "action"])
def test_a_television_switches_at_each_step_or_when_the_agent_fires(
    doors: Bench, monkeypatch: pytest.MonkeyPatch, shows: Literal["image", "noise"], switches: Literal["step", "action"]
) -> None:
    monkeypatch.setattr(renderer, "render", lambda *_: jnp.full((42, 42, 3), 7, jnp.uint8))  # a scene soon compiled
    television = Television(shows, switches)
    env, params = envs.make("maze3d_noreward", size=9, television=television)
    step = jax.jit(jax.vmap(lambda *args: env.step_env(*args)[:2], in_axes=(0, 0, 0, None)))
    _, state = doors.start()

    def act(state: EnvState, name: str, seed: int) -> tuple[np.ndarray, EnvState]:
        view, after = jax.device_get(step(doors.keys(seed), state, doors.actions(name), params))
        assert (view[:, :21] == 7).all() and (view[:, :, :21] == 7).all()
        return view[:, 21:, 21:], after

    before, state = act(state, "fire", 1)
    same = []
    for name in ("look_left", "look_right", "forward", "fire"):
        after, state = act(state, name, seed=len(same))
        same.append((after == before).all((1, 2, 3)).mean())
        before = after
    assert same[:3] == [1, 1, 1] if switches == "action" else max(same[:3]) < 0.5
    assert same[3] < 0.5


def test_a_television_shows_thirty_pictures_or_noise() -> None:
    screens = textures.hashed(jnp.uint32(0), jnp.arange(600), jnp.arange(600))
    shown = {}
    for shows in ("image", "noise"):
        draw = jax.vmap(functools.partial(overlay, Television(shows)), in_axes=(0, None))
        shown[shows] = np.asarray(draw(screens, jnp.zeros((42, 42, 3), jnp.uint8)))[:, 21:, 21:].astype(int)
        assert np.ptp(shown[shows], axis=(1, 2, 3)).min() > 100
    assert len(np.unique(shown["image"], axis=0)) == 30
    assert len(np.unique(shown["noise"], axis=0)) == 600
    smooth, rough = (np.abs(np.diff(shown[shows], axis=2)).mean() for shows in ("image", "noise"))
    assert smooth < 30 < 80 < rough
    shares = np.bincount(shown["noise"].reshape(-1), minlength=256) / shown["noise"].size
    np.testing.assert_allclose(shares, [1 / 255] * 255 + [0], rtol=0.1)  # 0 to 254


def test_closed_doors_stop_and_hide(doors: Bench) -> None:
    _, state = doors.start(seed=3)
    closed = np.argwhere(state.door > 0)
    assert len(closed)
    lane, y, x = closed[0]
    solid = state.maze.wall[lane]
    dy, dx = next((dy, dx) for dy, dx in [(0, 1), (0, -1), (1, 0), (-1, 0)] if not solid[y - dy, x - dx])
    before = np.array([x - dx + 0.5, y - dy + 0.5], np.float32)
    state = put(state, np.tile(before, (COUNT, 1)), yaw=float(np.arctan2(dy, dx)))
    for _ in range(12):
        _, state, *_ = doors.act(state, "forward")
    assert np.linalg.norm(state.body.pos[lane] - before) < 0.36
    opened = dataclasses.replace(state, door=np.zeros_like(state.door))
    views = [doors.act(s, "look_left")[0][lane][:21].astype(int) for s in (state, opened)]
    assert np.abs(views[0] - views[1]).mean() > 5


def test_keys_open_their_doors_and_the_goal_ends_the_episode(puzzle: Bench) -> None:
    _, state = puzzle.start()
    kinds = state.objects.kind
    assert (kinds[:, 0] == sprites.BALL + 1).all() and (kinds[:, 1] == sprites.KEY + 1).all()
    held, reward, *_ = puzzle.act_unseen(put(state, state.objects.pos[:, 1]), "look_left")
    assert reward.tolist() == [1.0] * COUNT
    color = state.objects.color[:, 1]
    assert (held.held == color + 1).all() and (held.objects.kind[:, 1] == 0).all()

    # No other key may lie where the agent is put next: it would take the held one's place.
    alone = np.where(np.arange(kinds.shape[1]) < 2, held.objects.kind, 0)
    held = dataclasses.replace(held, objects=dataclasses.replace(held.objects, kind=alone))
    doors_of_key = held.door == (color + 1)[:, None, None]
    y, x = np.array([np.argwhere(d)[0] for d in doors_of_key]).T
    solid = held.maze.wall
    beside = [before_door(solid[lane], y[lane], x[lane]) for lane in range(COUNT)]
    opened, reward, *_ = puzzle.act_unseen(put(held, np.array(beside, np.float32)), "look_left")
    assert reward.tolist() == [1.0] * COUNT
    assert (opened.held == 0).all()
    assert ((held.door > 0).sum((1, 2)) - (opened.door > 0).sum((1, 2))).tolist() == [1] * COUNT

    state, reward, terminated, _ = puzzle.act_unseen(put(opened, state.objects.pos[:, 0]), "look_left")
    assert reward.tolist() == [50.0] * COUNT and not terminated.any()
    ends = []
    for _ in range(3):
        state, reward, terminated, _ = puzzle.act_unseen(state, "look_left")
        ends.append(bool(terminated.all()))
    assert ends == [False, False, True]


def before_door(solid: np.ndarray, y: int, x: int) -> tuple[float, float]:
    """A place (x, y) that touches the door's cell from the floor before it."""
    steps = [(dy, dx) for dy, dx in [(0, 1), (0, -1), (1, 0), (-1, 0)] if not solid[y + dy, x + dx]]
    dy, dx = steps[0]
    return x + 0.5 + 0.7 * dx, y + 0.5 + 0.7 * dy


@pytest.fixture(scope="module")
def puzzles() -> Episode:
    """Four thousand, leaves `[N, ...]` of numpy."""
    env, _ = envs.make("maze3d_dense1")
    return jax.device_get(jax.jit(jax.vmap(env.rules.begin))(jax.random.split(jax.random.key(5), 4000)))


def test_puzzles_can_be_solved(puzzles: Episode) -> None:
    """Every key of the chain lies where the doors opened before lead, over a thousand puzzles."""
    for index in range(1000):
        one = jax.tree.map(lambda x, index=index: x[index], puzzles)
        floor, door = ~one.maze.wall, one.door.copy()
        kinds, colors, cells = one.objects.kind, one.objects.color, one.objects.pos.astype(int)
        length = int((kinds[1:4] > 0).sum())
        for step in range(length):
            assert reached(floor & (door == 0), one.body.pos)[cells[1 + step, 1], cells[1 + step, 0]]
            assert not reached(floor & (door == 0), one.body.pos)[cells[0, 1], cells[0, 0]]
            door[door == colors[1 + step] + 1] = 0
        assert reached(floor & (door == 0), one.body.pos)[cells[0, 1], cells[0, 0]]


def test_puzzles_have_the_rooms_doors_and_keys_of_the_level(puzzles: Episode) -> None:
    """Section 4.3; of what is there or not, both come up in half of the puzzles that have room for it."""
    every, kind, color = np.arange(len(puzzles.door)), puzzles.objects.kind, puzzles.objects.color
    length = (kind[:, 1:4] > 0).sum(1)
    assert set(length) == {1, 2, 3}
    assert ((kind == sprites.KEY + 1).sum(1) - length == 1 + (kind[:, 5] > 0)).all()  # one for the red herring
    easy = puzzles.maze.room.sum((1, 2)) // 6 - length - 3  # beside the start, chain, trap and red herring
    open_ways = (puzzles.maze.connector & (puzzles.door == 0)).sum((1, 2))
    np.testing.assert_array_equal(open_ways, easy)

    doors = np.stack([(puzzles.door == 1 + tint).sum((1, 2)) for tint in range(5)], axis=1)
    chain, has_key = np.zeros_like(doors, bool), np.zeros_like(doors, bool)
    for slot in range(1, 6):
        has_key[every, color[:, slot]] |= kind[:, slot] > 0
        chain[every, color[:, slot]] |= slot <= length
    assert ((doors >= 1) | ~chain).all()
    assert (doors[every, color[:, 4]] == 1).all()  # the red herring's
    assert ((doors * ~has_key).sum(1) == 2).all()  # cannot be opened
    extra = (doors * chain).sum(1) - length - 1  # the trap's is one more
    useless = kind[:, 5] > 0
    assert (doors[every, color[:, 5]][useless] == 0).all()
    for count in (easy, extra, useless[length < 3].astype(int)):
        assert set(count) == {0, 1} and count.mean() == pytest.approx(0.5, abs=0.05)
    assert not useless[length == 3].any()  # all five colours are taken


def reached(floor: np.ndarray, pos: np.ndarray) -> np.ndarray:
    seen, edge = np.zeros_like(floor), [(int(pos[1]), int(pos[0]))]
    while edge:
        y, x = edge.pop()
        if floor[y, x] and not seen[y, x]:
            seen[y, x] = True
            edge += [(y, x + 1), (y, x - 1), (y + 1, x), (y - 1, x)]
    return seen


def test_good_objects_pay_bad_ones_cost_and_ten_end_the_episode(collect: Bench) -> None:
    _, state = collect.start()
    kinds = state.objects.kind
    assert (kinds > 0).sum(1).tolist() == [20] * COUNT
    assert set(kinds[:, :10].flat) <= {sprites.CAN + 1, sprites.BALLOON + 1}
    total, ended = np.zeros(COUNT), []
    for index in [*range(7), 10, 11, 12]:  # seven good and three bad ones
        state, reward, terminated, info = collect.act_unseen(put(state, state.objects.pos[:, index]), "look_left")
        total += reward
        assert not terminated.any()
    assert total.tolist() == [4.0] * COUNT
    assert (info["collected"] == 10).all()
    for _ in range(3):
        state, _, terminated, _ = collect.act_unseen(state, "look_left")
        ended.append(bool(terminated.all()))
    assert ended == [False, False, True]


def test_a_scenario_without_reward_says_what_it_would_have_paid() -> None:
    env, params = envs.make("maze3d_norewardnofire", size=7, height=2, width=2)
    assert env.num_actions == 8 and "fire" not in env.actions

    @jax.jit
    def reach_the_goal(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        _, state = env.reset_env(key, params)
        state = dataclasses.replace(state, body=dataclasses.replace(state.body, pos=state.objects.pos[0]))
        _, _, reward, _, info = env.step_env(key, state, 4, params)
        return reward, info["task_reward"]

    reward, task_reward = reach_the_goal(jax.random.key(0))
    assert (float(reward), float(task_reward)) == (0.0, 10.0)


@pytest.mark.parametrize(
    ("name", "rules", "steps", "actions", "pays"),
    [
        ("sparse", Explore(17), 1800, 9, True),
        ("verysparse", Explore(17, min_distance=10), 1800, 9, True),
        ("sparseplusdoors", Explore(17, doors=True), 1800, 9, True),
        ("noreward", Explore(17), 1800, 9, False),
        ("norewardnofire", Explore(17), 1800, 8, False),
        ("dense1", Puzzle(), 900, 9, True),
        ("dense2", Collect(), 900, 9, True),
    ],
)
def test_scenarios_are_those_of_the_table(name: str, rules: Rules, steps: int, actions: int, pays: bool) -> None:
    """Section 4.1."""
    env, params = envs.make(f"maze3d_{name}")
    assert (env.rules, params.max_steps_in_episode, env.num_actions, env.pays) == (rules, steps, actions, pays)


def test_splits_share_no_key() -> None:
    keys = jax.random.split(jax.random.key(0), 10_000)
    of_splits = jax.jit(jax.vmap(jax.vmap(split_key, in_axes=(0, None)), in_axes=(None, 0)))
    words = np.asarray(jax.random.key_data(of_splits(keys, np.arange(len(SPLITS)))))
    marks = [set((data[:, 0] >> 30).tolist()) for data in words]
    assert marks == [{0}, {1}, {2}, {3}]
    assert len(np.unique(np.concatenate(words), axis=0)) == 40_000


def test_reachable_cells_are_those_that_a_walk_can_enter(doors: Bench) -> None:
    """Against a fine sampling of the places that the agent's square can have."""
    _, state = doors.start()
    wall = state.maze.wall[0]
    step = np.arange(0.005, 9, 0.01)
    radius = 0.15
    blocked = np.zeros((len(step), len(step)), bool)
    for dy in (-radius, radius):
        for dx in (-radius, radius):
            y, x = np.floor(step + dy).astype(int).clip(0, 8), np.floor(step + dx).astype(int).clip(0, 8)
            blocked |= wall[y[:, None], x]
    cells = np.floor(step / 0.3).astype(int)
    free_y, free_x = np.nonzero(~blocked)
    assert int(state.reachable_cells[0]) == len(set(zip(cells[free_y].tolist(), cells[free_x].tolist(), strict=True)))
    assert int(coverage.reachable_cells(jnp.zeros((9, 9), bool).at[4, 4].set(True))) == 16


def test_only_where_computes_the_flagged_members_alone() -> None:
    lazy = only_where(lambda x: 10.0 * x)
    flags = np.array([[True, False, True], [False, False, True]])
    values = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    expected = np.where(flags, 10 * values, -1.0)
    third = np.arange(100) % 3 == 0

    @jax.jit
    def at_all_depths(flag: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        def chosen(f: jax.Array, x: jax.Array) -> jax.Array:
            return lazy(f, jnp.float32(-1.0), x)

        once = jax.vmap(chosen)
        return jax.vmap(once)(flags, values), chosen(flag, jnp.float32(2)), once(third, jnp.arange(100.0))

    twice, one, many = at_all_depths(True)
    np.testing.assert_array_equal(twice, expected)
    np.testing.assert_array_equal(one, 20)
    np.testing.assert_array_equal(many, np.where(third, 10 * np.arange(100.0), -1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"action_set": "all"}, "default"),
        ({"height": 41}, "even"),
        ({"action_set": "nofire", "television": Television("image", "action")}, "fire"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        envs.make("maze3d_sparse", **options)
