"""Episodic curiosity as a method: PPO plus EC, whose network is given, and plus ECO, which trains it beside itself.

Source: Savinov et al., "Episodic Curiosity through Reachability" (ICLR 2019). A rollout is judged after it was
collected: nothing in it depends on the bonus, and so its frames pass through the encoder in large batches. Where a
round of training falls due within a rollout, the network learns from all of it first; the original learnt within the
very step, at most a rollout earlier. From which step on the bonus counts is the same in both.

Bugs of the released code, and where they are fixed; `parity` brings back those marked (P):

* The R-network was trained on the mazes meant for validation, and judged on those meant for training: `r_training`.
* Training and evaluation shared one memory, so that each evaluation cleared it in mid-episode: `memory`. Not brought
  back: what is learned would depend on when one evaluates, which a resume may change.
* Environments were reset twice, and a stray position was scored: they reset once, and `rollout` scores the position at
  the end of the step. Not brought back: of random mazes every second is as good as each, and the stray position adds at
  most one cell to the coverage of an episode.
* The ant's new memory began with the old episode's last frame: `bonus`.
* (P) The first observation was not stored: `bonus.start`.
* (P) Without a task reward the oldest entry of the memory was replaced, not a random one: `bonus.settings`.
* (P) After a round of training the memory held the old network's embeddings: `bonus.refresh`.
* (P) ECO's trajectories ended with a frame of the next episode: `history.trajectory_starts`.
* (P) A respawn did not end a trajectory, so that frames far apart were labelled reachable: `history.trajectory_starts`.
* (P) An anchor with a single legal negative was refused, which ended its trajectory: `pairs`.
* The number of a run seeded nothing: every draw here comes from the seed's key, by `fold_in` on names and counters.
* No run could be resumed: network, optimiser, history, memories and counters lie in `SeedState`.
* The ant was refused: `task.frames`.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core import rng
from peg_jax.core.types import Array, Key, Metrics
from peg_jax.curiosity import bonus, r_training, rollout
from peg_jax.curiosity.bonus import Judgement
from peg_jax.curiosity.config import CuriosityConfig
from peg_jax.curiosity.history import (
    History,
    append,
    bonus_live,
    init_history,
    round_due,
    rows_for,
)
from peg_jax.curiosity.intrinsic import Appraisal, Bonus, Judged
from peg_jax.curiosity.memory import Memory
from peg_jax.curiosity.r_network import RNetwork, RNetworkState, Variables, init_state
from peg_jax.curiosity.reachability_config import ReachabilityConfig
from peg_jax.curiosity.rollout import Collector, Rollout
from peg_jax.curiosity.task import Task

_EMBEDDED_AT_ONCE = 512  # frames


@struct.dataclass
class ReachabilityState:
    """The network, what it is trained on, and what the episodes have seen."""

    network: RNetworkState
    memory: Memory  # of `bonus.Entry`, leaves [N, ...]
    history: History | None  # of ECO
    views: Array | None  # uint8 [N, capacity, H, W, C] of ECO: what the memories' entries were made of


def bonus_before(task: Task, config: CuriosityConfig) -> Bonus:
    """EC: the bonus by a network that was trained before the policy; `install` puts it in."""
    return _make_bonus(task, config, online=False)


def bonus_beside(task: Task, config: CuriosityConfig) -> Bonus:
    """ECO: the bonus by a network that is trained on what the policy sees."""
    return _make_bonus(task, config, online=True)


def _make_bonus(task: Task, config: CuriosityConfig, online: bool) -> Bonus:
    def judge(state: ReachabilityState, taken: Rollout, collector: Collector, vector_step: Array, key: Key) -> Judged:
        frames = rollout.frames_after(taken, collector)
        learn_key, memory_key = rng.split(key, "round", "memory")
        learnt: Metrics = {}
        live = jnp.ones(taken.done.shape[0], bool)
        if online:
            state, learnt = _learn(config, state, taken, frames, vector_step, learn_key)
            times = vector_step + 1 + jnp.arange(taken.done.shape[0])
            live = bonus_live(times, config.ppo.num_envs, config.reachability.online)
        memory, judged = score_rollout(
            config.reachability, state.network.variables, state.memory, frames, taken.done, vector_step, memory_key
        )
        state = dataclasses.replace(state, memory=memory, views=_views(state.views, memory, frames, vector_step))
        paid = jnp.where(live[:, None], judged.bonus, 0.0)
        return Judged(state, paid, learnt | _describe(judged, memory))

    def appraise(state: ReachabilityState, taken: Rollout, frames: Array, key: Key) -> Appraisal:
        numbers, variables = config.reachability, state.network.variables
        memory = memories_of(numbers, variables, frames[0])
        _, judged, held = _follow(numbers, variables, memory, frames[1:], taken.done, jnp.zeros((), jnp.int32), key)
        return Appraisal(judged.bonus, judged.similarity, held)

    return Bonus(
        init=lambda key, collector: init(task, config, online, key, collector),
        judge=judge,
        appraise=appraise,
        bad_updates=lambda state: state.network.bad_updates,
        looks=True,
    )


def init(task: Task, config: CuriosityConfig, online: bool, key: Key, collector: Collector) -> ReachabilityState:
    """An untrained network, memories of the first observations and, for ECO, an empty history."""
    numbers, envs = config.reachability, config.ppo.num_envs
    optimizer = numbers.online.optimizer if online else numbers.offline.optimizer
    network = init_state(RNetwork(numbers.network), rng.named(key, "network"), task.frame_shape, optimizer)
    memory = open_memories(task, config, network.variables, collector)
    if not online:
        return ReachabilityState(network, memory, history=None, views=None)
    history = init_history(rows_for(numbers.online.history, envs), envs, task.frame_shape)
    first = task.frames(collector.obs, collector.env)[:, None]
    views = jnp.broadcast_to(first, (envs, numbers.memory.capacity, *task.frame_shape))
    return ReachabilityState(network, memory, history, views)


def install(
    task: Task, config: CuriosityConfig, state: ReachabilityState, network: RNetworkState, collector: Collector
) -> ReachabilityState:
    """The state before the first update, with another network."""
    memory = open_memories(task, config, network.variables, collector)
    return dataclasses.replace(state, network=network, memory=memory)


def open_memories(task: Task, config: CuriosityConfig, variables: Variables, collector: Collector) -> Memory:
    """Memories of environments that have just begun, leaves `[N, ...]`."""
    return memories_of(config.reachability, variables, task.frames(collector.obs, collector.env))


def memories_of(numbers: ReachabilityConfig, variables: Variables, frames: Array) -> Memory:
    """Memories of the first frames `[N, H, W, C]` of episodes."""
    net = RNetwork(numbers.network)
    before_all = jnp.full(frames.shape[0], -1, jnp.int32)
    entries = bonus.make_entry(net, variables, frames, before_all)
    empty = bonus.empty_memory(net, numbers.memory)
    unused = jax.random.key(0)  # nothing makes way in an empty memory
    return jax.vmap(lambda entry: bonus.start(empty, unused, entry, numbers.memory, numbers.parity))(entries)


def score_rollout(
    config: ReachabilityConfig,
    variables: Variables,
    memory: Memory,
    frames: Array,
    done: Array,
    vector_step: Array,
    key: Key,
) -> tuple[Memory, Judgement]:
    """Judge the frames of N environments one after another.

    Args:
        config: the numbers.
        variables: of the network.
        memory: of the environments before the rollout, leaves `[N, ...]`.
        frames: uint8 `[T, N, H, W, C]`, after each step.
        done: bool `[T, N]`.
        vector_step: int32 `[]`, of the first frame.
        key: for the slots that make way.

    Returns:
        `(memory, judgement)`; the judgement's leaves are `[T, N]`.
    """
    return _follow(config, variables, memory, frames, done, vector_step, key)[:2]


def _follow(
    config: ReachabilityConfig,
    variables: Variables,
    memory: Memory,
    frames: Array,
    done: Array,
    vector_step: Array,
    key: Key,
) -> tuple[Memory, Judgement, Array]:
    """See `score_rollout`; the third is what the memories hold after each step, as in `Appraisal.remembered`."""
    net, (steps, envs) = RNetwork(config.network), done.shape
    times = jnp.broadcast_to((vector_step + jnp.arange(steps))[:, None], done.shape)
    rows = max(n for n in range(1, steps + 1) if steps % n == 0 and (n == 1 or n * envs <= _EMBEDDED_AT_ONCE))
    parts = jax.tree.map(lambda x: x.reshape(steps // rows, rows * envs, *x.shape[2:]), (frames, times))
    entries = jax.lax.map(lambda part: bonus.make_entry(net, variables, *part), parts)
    entries = jax.tree.map(lambda x: x.reshape(steps, envs, *x.shape[2:]), entries)

    def observe(memory: Memory, key: Key, entry: bonus.Entry, done: Array) -> tuple[Memory, Judgement]:
        return bonus.observe(net, variables, memory, key, entry, done, config.memory, config.bonus)

    def step(memory: Memory, now: tuple[Key, bonus.Entry, Array]) -> tuple[Memory, tuple[Judgement, Array]]:
        key, entry, done = now
        memory, judged = jax.vmap(observe)(memory, jax.random.split(key, envs), entry, done)
        filled = jax.vmap(lambda memory: memory.filled)(memory)
        return memory, (judged, jnp.where(filled, memory.entries.step, -2))

    memory, (judged, held) = jax.lax.scan(step, memory, (jax.random.split(key, steps), entries, done))
    return memory, judged, held


def _views(views: Array | None, memory: Memory, frames: Array, vector_step: Array) -> Array | None:
    """`views` after a rollout, which began at `vector_step` and showed `frames [T, N, H, W, C]`, if any are kept."""
    if views is None:
        return None
    at = memory.entries.step - vector_step  # [N, capacity]
    seen = jax.vmap(lambda frames, at: frames[jnp.maximum(at, 0)], in_axes=(1, 0))(frames, at)
    return jnp.where((at >= 0)[..., None, None, None], seen, views)


def _learn(
    config: CuriosityConfig, state: ReachabilityState, taken: Rollout, frames: Array, vector_step: Array, key: Key
) -> tuple[ReachabilityState, Metrics]:
    """Write the rollout into the history, and hold a round of training if one fell due in it."""
    numbers, (steps, envs) = config.reachability, taken.done.shape
    assert state.history is not None and state.views is not None
    history = append(state.history, frames, taken.done, taken.respawned)
    if numbers.control == "untrained":
        return dataclasses.replace(state, history=history), {}
    due = round_due(vector_step + steps, envs, numbers.online, advanced=steps)
    hold = partial(_round, numbers, history, state.views, key)
    silent = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan), jax.eval_shape(hold, state.network, state.memory)[2])
    network, memory, metrics = jax.lax.cond(
        due, hold, lambda network, memory: (network, memory, silent), state.network, state.memory
    )
    return dataclasses.replace(state, network=network, memory=memory, history=history), metrics


def _round(
    config: ReachabilityConfig, history: History, views: Array, key: Key, network: RNetworkState, memory: Memory
) -> tuple[RNetworkState, Memory, Metrics]:
    """A round: the network trained on the history, and the memories as it sees them; float32 metrics."""
    net = RNetwork(config.network)
    pairs_key, label_key, train_key = rng.split(key, "pairs", "labels", "train")
    pairs = r_training.history_pairs(pairs_key, history, config.online.pairs, config.parity, ends_late=config.parity)
    if config.control == "shuffled_labels":
        pairs = r_training.shuffled_labels(label_key, pairs)
    network, metrics = r_training.train_online(network, net, history, pairs, train_key, config.online)
    memory = jax.vmap(partial(bonus.refresh, net, network.variables, parity=config.parity))(memory, frames=views)
    return network, memory, {f"r_{name}": value.astype(jnp.float32) for name, value in metrics.items()}


def _describe(judged: Judgement, memory: Memory) -> Metrics:
    return {
        "similarity": judged.similarity.mean(),
        "remembered": judged.remembered.mean(),
        "memory_size": jax.vmap(lambda memory: memory.size)(memory).mean(),
    }
