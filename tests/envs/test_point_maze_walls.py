"""The maze and the motion in it, against facts and against a slow restatement of the rules in plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.point_maze import PointMaze, maze

ROUTE_LENGTHS = {
    (9, 9): 22, (9, 4): 17, (9, 0): 13, (6, 9): 15, (6, 4): 14, (6, 0): 8,
    (3, 9): 12, (3, 4): 7, (3, 0): 5, (0, 9): 13, (0, 4): 6, (9, 8): 23,
}  # fmt: skip


class SlowMaze:
    """The published rules in float64, one wall and one move at a time, with their bound of three slides."""

    right = (0xEB, 0x15C, 0x1D3, 0x40, 0x19F, 0xAA, 0x81, 0x12A, 0xA9, 0x17E)
    up = (0x36D, 0x9B, 0x15F, 0x2E2, 0x2CB, 0x2FE, 0x1CD, 0xAE, 0x305, 0x0)

    def wall(self, x: int, y: int, direction: str) -> bool:
        if not (0 <= x < 10 and 0 <= y < 10):
            return True  # looked up past the outer wall, which then is hit first and decides
        if direction == "left":
            return x == 0 or self.wall(x - 1, y, "right")
        if direction == "down":
            return y == 0 or self.wall(x, y - 1, "up")
        return not (self.right if direction == "right" else self.up)[y] >> x & 1

    def crossings(self, x: float, y: float, dx: float, dy: float) -> list[tuple[float, str]]:
        """Fraction and direction of every grid line that the move crosses, wall or not."""
        found = []
        if round(x + dx) != round(x):
            found.append(((round(x) + np.sign(dx) * 0.5 - x) / dx, "right" if dx > 0 else "left"))
        if round(y + dy) != round(y):
            found.append(((round(y) + np.sign(dy) * 0.5 - y) / dy, "up" if dy > 0 else "down"))
        return found

    def move(
        self, x: float, y: float, dx: float, dy: float, noise: np.ndarray, slides: int = 0
    ) -> tuple[float, float, int]:
        """Position reached and number of slides."""
        hits = []
        for r, direction in self.crossings(x, y, dx, dy):
            if self.wall(round(x + 0.999 * r * dx), round(y + 0.999 * r * dy), direction):
                hits.append((r, direction))
        if not hits:
            return x + dx, y + dy, slides
        r, direction = min(hits)
        x, y = x + r * dx, y + r * dy
        if slides == 3:
            return x, y, slides
        if direction in ("left", "right"):
            return self.move(x - np.sign(dx) * noise[slides], y, 0.0, (1 - r) * dy, noise, slides + 1)
        return self.move(x, y - np.sign(dy) * noise[slides], (1 - r) * dx, 0.0, noise, slides + 1)

    def near_tie(self, x: float, y: float, dx: float, dy: float) -> bool:
        """Whether float32 may order the crossings, or decide that there is one, differently."""
        found = self.crossings(x, y, dx, dy)
        to_line = min(abs(c - np.floor(c) - 0.5) for c in (x, y, x + dx, y + dy))
        return to_line < 1e-5 or (len(found) == 2 and abs(found[0][0] - found[1][0]) < 2e-3)


def test_passages_form_a_spanning_tree():
    assert maze.PASSAGES.sum() == 99
    assert (~maze.PASSAGES).sum() == 121
    outer = maze.PASSAGES[:, [0, 10], :]
    assert not outer.any() and outer.size == 40
    # 99 edges that connect all 100 cells leave no room for a loop.
    assert all(maze.route_length((0, 0), (x, y)) < 100 for x in range(10) for y in range(10))


def test_route_lengths_from_the_start():
    assert {cell: maze.route_length((0, 0), cell) for cell in ROUTE_LENGTHS} == ROUTE_LENGTHS
    lengths = {(x, y): maze.route_length((0, 0), (x, y)) for x in range(10) for y in range(10)}
    assert max(lengths, key=lambda cell: lengths[cell]) == (9, 8)
    assert maze.route_length((9, 8), (0, 0)) == 23


def test_remoteness_is_the_route_between_the_cells_of_two_points():
    points = jnp.array([[9.3, 8.1], [0.2, -0.4], [12.0, 9.0]])  # the last is outside, next to (9, 9)
    np.testing.assert_array_equal(PointMaze().remoteness(points, jnp.zeros(2)), [23, 0, 22])
    np.testing.assert_array_equal(PointMaze().remoteness(points[:1], points), [0, 23, 1])


def test_route_length_rejects_cells_outside():
    with pytest.raises(ValueError, match=r"\(10, 0\) is outside"):
        maze.route_length((0, 0), (10, 0))


def test_move_agrees_with_the_slow_rules():
    rng = np.random.default_rng(0)
    slow = SlowMaze()
    n = 6000
    pos = (rng.integers(0, 10, (n, 2)) + rng.uniform(-0.5, 0.5, (n, 2))).astype(np.float32)
    delta = rng.uniform(-0.95, 0.95, (n, 2)).astype(np.float32)
    noise = rng.uniform(0, 0.01, (n, 3)).astype(np.float32)
    fast = np.asarray(jax.jit(jax.vmap(maze.move))(pos, delta, noise[:, :2]))

    compared, slid = 0, [0, 0, 0, 0]
    for i in range(n):
        start = (*pos[i].astype(float), *delta[i].astype(float))
        if slow.near_tie(*start):
            continue
        x, y, slides = slow.move(*start, noise[i].astype(float))
        np.testing.assert_allclose(fast[i], [x, y], atol=5e-6, rtol=0, err_msg=str(start))
        compared += 1
        slid[slides] += 1
    assert compared > 5500
    # All kinds of moves are in the sample, and no move slides a third time.
    assert slid[0] > 2000 and slid[1] > 1000 and slid[2] > 100 and slid[3] == 0


@pytest.mark.parametrize(
    ("start", "delta", "end"),
    [
        ((0.0, 0.0), (0.9, 0.0), (0.9, 0.0)),  # an open passage
        ((0.0, 0.0), (-0.9, 0.0), (-0.497, 0.0)),  # a wall stops the move and pulls it back by the first number
        ((0.0, 0.0), (-0.9, 0.4), (-0.497, 0.4)),  # and lets the other axis slide on
        ((0.0, 0.0), (-0.9, -0.8), (-0.497, -0.492)),  # x is reached first, then y with the second number
        ((0.0, 0.0), (-0.8, -0.9), (-0.492, -0.497)),  # y is reached first
        ((0.4, 0.9), (0.2, 0.2), (0.497, 1.1)),  # the wall right of (0, 1)
    ],
)
def test_move_by_hand(start, delta, end):
    reached = maze.move(jnp.array(start), jnp.array(delta), jnp.array([0.003, 0.008]))
    np.testing.assert_allclose(reached, end, atol=5e-6)


@pytest.mark.parametrize("pull_back", [0.0, 0.00999])
def test_walls_are_never_crossed(pull_back):
    """A million moves of full length, resting on the walls themselves or off them, go through passages only."""
    lanes, steps = 1000, 1000

    def step(pos, key):
        delta = 0.95 * jnp.sign(jax.random.uniform(key, pos.shape, minval=-1.0))
        delta = delta * jax.random.uniform(jax.random.fold_in(key, 1), pos.shape, minval=0.2)
        reached = jax.vmap(maze.move, (0, 0, None))(pos, delta, jnp.full(2, pull_back))
        return reached, (pos, reached)

    keys = jax.random.split(jax.random.key(0), steps)
    _, (before, after) = jax.lax.scan(step, jnp.zeros((lanes, 2)), keys)
    before, after = np.asarray(before).reshape(-1, 2), np.asarray(after).reshape(-1, 2)
    assert np.all(np.abs(after - 4.5) < 5.0)

    (x, y), (u, v) = np.round(before).astype(int).T, np.round(after).astype(int).T
    assert np.abs(u - x).max() == 1 and np.abs(v - y).max() == 1
    # Open where no line is crossed; else the passage of that axis, in the row or column given.
    x_open = [(u == x) | maze.PASSAGES[0, np.maximum(x, u), row] for row in (y, v)]
    y_open = [(v == y) | maze.PASSAGES[1, np.maximum(y, v), column] for column in (u, x)]
    through = (x_open[0] & y_open[0]) | (x_open[1] & y_open[1])
    diagonal = (u != x) & (v != y)
    assert np.all(through[~diagonal])
    # The rule's look-up just before a line lets a move that meets a corner within 0.1 % of its length cut it, rarely.
    assert diagonal.mean() > 0.01 and np.mean(~through) < 3e-4
    visited = np.zeros((10, 10), dtype=bool)
    visited[u, v] = True
    assert visited.all()


def test_is_clear_follows_the_walls():
    # Cell (0, 0) is walled left and below, open right and above.
    assert maze.is_clear(jnp.array([-0.44, 0.0]), 0.05) and not maze.is_clear(jnp.array([-0.46, 0.0]), 0.05)
    assert maze.is_clear(jnp.array([0.2, -0.44]), 0.05) and not maze.is_clear(jnp.array([0.2, -0.46]), 0.05)
    assert maze.is_clear(jnp.array([0.49, 0.1]), 0.05) and maze.is_clear(jnp.array([0.1, 0.49]), 0.05)
