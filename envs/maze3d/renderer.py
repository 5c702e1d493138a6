"""The first-person view: one ray per pixel column, floor and ceiling per pixel, objects in front.

Written for one frame; map over states for a batch. A pixel is computed whole, all colours at once and without looking
anything up, and leaves as one 32-bit word: the compiler makes one loop over the pixels of it. The upper and the lower
half of the picture are two turns of a scan, less because one has a ceiling and the other a floor than because what
leaves a scan is there: the compiler cannot compute each word once more for each of its bytes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.maze3d import sprites, textures
from envs.maze3d.raycast import Hits, cast
from envs.maze3d.textures import Material
from envs.maze3d.types import EYE_HEIGHT, EnvState, Look, Maze, Objects, Shot

NEAR = 0.05
"""Objects nearer than this are not drawn."""

SPLASH_STEPS = 5
"""Steps for which a shot is seen on the wall."""

GRAIN = 3
"""Edge of a grain of random colour, pixels."""

_SPLASH_WIDEST = 0.4  # largest radius of a splash, in units of its depth; the view ends at 1
_POSTER_SIZE = 0.64
_SIDE_SHADE = 0.8  # brightness of faces along one axis, so that corners show

Color = tuple[jax.Array, jax.Array, jax.Array]  # red, green, blue in [0, 1]


class Camera(NamedTuple):
    """Slopes of the pixels, from the middle of the view."""

    right: np.ndarray  # [W]
    down: np.ndarray  # [H]


class Columns(NamedTuple):
    """What each pixel column shows of the wall."""

    distance: jax.Array  # [W], perpendicular to the screen
    along: jax.Array  # [W] in [0, 1)
    light: Color  # [W] each
    seed: jax.Array  # [W] uint32, the wall cell's own
    has_poster: jax.Array  # [W] bool
    wall: Material
    poster: Material


class Scene(NamedTuple):
    """What has been painted so far."""

    color: Color  # [H, W] each
    distance: jax.Array  # [H, W]


def make_camera(height: int, width: int) -> Camera:
    """A camera with square pixels that sees 90 degrees from left to right."""
    focal = width / 2
    right = (np.arange(width) + 0.5 - width / 2) / focal
    down = (np.arange(height) + 0.5 - height / 2) / focal
    return Camera(right.astype(np.float32), down.astype(np.float32))


def render(camera: Camera, state: EnvState) -> jax.Array:
    """What the agent sees, `[H, W, 3]` uint8."""
    body = state.body
    forward = jnp.stack([jnp.cos(body.yaw), jnp.sin(body.yaw)])
    rightward = jnp.stack([forward[1], -forward[0]])
    directions = forward + camera.right[:, None] * rightward
    hits = cast(state.maze.wall | (state.door > 0), body.pos, directions)
    columns = _columns(state.maze, state.door, state.look, hits, body.pos + hits.distance[:, None] * directions)

    def place(pos: jax.Array) -> tuple[jax.Array, jax.Array]:
        offset = pos - body.pos
        return offset @ forward, offset @ rightward

    objects, shot = place(state.objects.pos), place(state.shot.pos)
    grains = textures.hashed(state.shot.seed + state.shot.age.astype(jnp.uint32), *_grains(camera))

    def half(inputs: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        down, material, grains = inputs
        plane = textures.unpack(state.look.material[material])
        scene = _surfaces(down, plane, state.look.lamp, body.pos, directions, columns)
        scene = _objects(camera.right, down, state.objects, *objects, scene)
        return pack(_splash(camera, down, state.shot, *shot, unpack(grains), scene))

    halves = jnp.asarray(camera.down).reshape(2, -1), jnp.array([textures.CEILING, textures.FLOOR])
    words = jax.lax.map(half, (*halves, grains.reshape(2, -1, grains.shape[1])))
    return to_bytes(words.reshape(grains.shape))


def pack(color: Color) -> jax.Array:
    """Three planes in [0, 1] as one of 32-bit words, red in the lowest byte."""
    red, green, blue = ((255.0 * jnp.clip(plane, 0.0, 1.0)).astype(jnp.uint32) for plane in color)
    return red | (green << 8) | (blue << 16)


def unpack(words: jax.Array) -> Color:
    """The planes of `pack`."""
    red, green, blue = (((words >> shift) & 255).astype(jnp.float32) / 255.0 for shift in (0, 8, 16))
    return red, green, blue


def to_bytes(words: jax.Array) -> jax.Array:
    """Words `[H, W]` as colours `[H, W, 3]` uint8."""
    return jax.lax.bitcast_convert_type(words, jnp.uint8)[..., :3]


def _columns(maze: Maze, door: jax.Array, look: Look, hits: Hits, place: jax.Array) -> Columns:
    before = jnp.asarray(_FACE_STEPS)[hits.face]
    in_room = maze.room[hits.y + before[:, 0], hits.x + before[:, 1]]
    closed = door[hits.y, hits.x]
    plain = jnp.where(in_room, textures.ROOM_WALL, textures.CORRIDOR_WALL)
    material = jnp.where(closed > 0, textures.FIRST_DOOR + closed - 1, plain)
    poster = jnp.where(closed > 0, -1, look.poster[hits.face, hits.y, hits.x].astype(jnp.int32))
    light = jnp.where(hits.face < 2, 1.0, _SIDE_SHADE) * _fade(hits.distance)
    lamps = jax.vmap(textures.lamp, in_axes=(0, None, None))(look.lamp, *place.T)
    red, green, blue = light * jnp.where(closed > 0, 1.0, lamps)  # a door keeps its colour, which is its key's
    return Columns(
        distance=hits.distance,
        along=hits.along,
        light=(red, green, blue),
        seed=textures.hashed(look.seed, 4 * hits.y + hits.face, hits.x),
        has_poster=poster >= 0,
        wall=textures.unpack(look.material[material]),
        poster=textures.unpack(look.material[textures.FIRST_POSTER + jnp.maximum(poster, 0)]),
    )


_FACE_STEPS = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])  # (y, x) from a wall cell to the cell before each face


def _fade(distance: jax.Array | np.ndarray) -> jax.Array:
    """Far things are darker."""
    return jnp.maximum(0.35, 1.0 / (1.0 + 0.07 * distance))


def _surfaces(
    down: jax.Array, plane: Material, lamps: jax.Array, pos: jax.Array, directions: jax.Array, columns: Columns
) -> Scene:
    """Walls, posters, and the floor or ceiling, for some rows of pixels `down [R]`."""
    down = down[:, None]
    height = EYE_HEIGHT - down * columns.distance
    is_wall = (height > 0) & (height < 1)
    wall = textures.brightness(columns.wall, columns.along, height, columns.seed)
    from_middle = (columns.along - 0.5) / _POSTER_SIZE, (height - 0.5) / _POSTER_SIZE
    on_poster = (jnp.maximum(*map(jnp.abs, from_middle)) < 0.5) & columns.has_poster
    poster = textures.brightness(columns.poster, from_middle[0] + 0.5, from_middle[1] + 0.5, columns.seed)

    flat_distance = EYE_HEIGHT / jnp.abs(down)
    ground_x, ground_y = pos[0] + flat_distance * directions[:, 0], pos[1] + flat_distance * directions[:, 1]
    flat = textures.brightness(plane, ground_x, ground_y, jnp.uint32(0))

    part = jnp.where(is_wall, jnp.where(on_poster, poster, wall), flat)
    distance = jnp.where(is_wall, columns.distance, flat_distance)
    part = 0.5 + (part - 0.5) * jnp.minimum(1.0, 3.0 / distance)  # fine patterns far away would only flicker
    fade = _fade(flat_distance)

    def paint(channel: int) -> jax.Array:
        def of(name: str) -> jax.Array:
            on_wall = jnp.where(on_poster, getattr(columns.poster, name)[channel], getattr(columns.wall, name)[channel])
            return jnp.where(is_wall, on_wall, getattr(plane, name)[channel])

        flat_light = fade * textures.lamp(lamps[channel], ground_x, ground_y)
        light = jnp.where(is_wall, columns.light[channel], flat_light)
        return light * (of("dark") + part * (of("light") - of("dark")))

    return Scene((paint(0), paint(1), paint(2)), distance)


def _objects(
    right: np.ndarray, down: jax.Array, objects: Objects, depth: jax.Array, lateral: jax.Array, scene: Scene
) -> Scene:
    """Paint objects over the walls, the nearest in front."""
    low, high, up = jax.vmap(sprites.outline, in_axes=(0, 0, 0, None, None))(
        objects.kind, depth, lateral, jnp.asarray(right), down
    )
    (red, green, blue), distance = scene
    for index in range(objects.kind.shape[0]):
        row, far = up[index][:, None], depth[index]
        seen = (row > low[index]) & (row < high[index]) & (far > NEAR) & (far < distance)
        shade = _fade(far) * (0.8 + 0.2 * row)
        red, green, blue = (
            jnp.where(seen, objects.rgb[index, channel] * shade, plane)
            for channel, plane in enumerate((red, green, blue))
        )
        distance = jnp.where(seen, far, distance)
    return Scene((red, green, blue), distance)


def _splash(
    camera: Camera, down: jax.Array, shot: Shot, depth: jax.Array, lateral: jax.Array, noise: Color, scene: Scene
) -> Color:
    """A shot: a burst of random colours where it hit, growing for some steps, and a flash at the gun at first.

    It hides an eighth of a square view at most, so that whoever fires at a wall can still tell where he is.
    """
    right, down = jnp.asarray(camera.right), down[:, None]
    radius = jnp.minimum(0.15 + 0.06 * shot.age, _SPLASH_WIDEST * depth)
    spread = (right * depth - lateral) ** 2 + (down * depth) ** 2
    burst = (spread < radius**2) & (shot.age < SPLASH_STEPS) & (depth > NEAR) & (depth - 0.05 < scene.distance)
    flash = (jnp.abs(right) < 0.22) & (down > 0.6 * camera.down[-1]) & (shot.age == 0)
    red, green, blue = (jnp.where(burst | flash, grain, plane) for grain, plane in zip(noise, scene.color, strict=True))
    return red, green, blue


def _grains(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Row `[H, 1]` and column `[W]` of the grain of random colour that each pixel belongs to."""
    return np.arange(len(camera.down))[:, None] // GRAIN, np.arange(len(camera.right)) // GRAIN
