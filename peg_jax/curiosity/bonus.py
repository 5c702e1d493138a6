"""The curiosity bonus: an observation is worth more, the fewer steps' neighbours of it are remembered.

Source: Savinov et al. 2019. Written for one environment; map over a batch.

Of the original's bugs, these concern the bonus:

* It did not store the very first observation, so that the first step was scored against an empty memory. Here
  `start` does; with `parity` the memory starts empty.
* With the ant, the frame given at an episode's end was the last one of the old episode, which then opened the
  new memory. Here an environment hands out the new episode's first frame, which no switch changes.
* Environments were reset twice, so position and observation at an episode's end came from different mazes.
  Environments reset once here; no switch brings that back, for it changes which mazes are seen and nothing else.
* Without a task reward it replaced the oldest entry rather than a random one. Here `random` holds throughout;
  with `parity`, `settings` gives `fifo`.
* After a round of online training the memory held embeddings of the network before, see `refresh`.
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from peg_jax.core.types import Array, Key
from peg_jax.curiosity.config import RewardConfig
from peg_jax.curiosity.memory import Memory, aggregate, clear, init_memory, insert
from peg_jax.curiosity.r_network import RNetwork, Variables, embed, half_of_entry, similarity
from peg_jax.curiosity.reachability_config import BonusConfig, MemoryConfig

MAZES = ("sparse", "verysparse", "sparseplusdoors", "dense1", "dense2")
MAZES_WITHOUT_REWARD = ("noreward", "norewardnofire")
ANT = "ant_no_reward"
SCENARIOS = (*MAZES, *MAZES_WITHOUT_REWARD, ANT)


@struct.dataclass
class Entry:
    """What is kept of an observation."""

    embedding: Array  # float32 [E]
    half: Array  # float32 [units], its share of the comparator's first layer
    step: Array  # int32 [], the caller's name for it: the vector step at which it was seen


class Judgement(NamedTuple):
    """What a step was found to be."""

    bonus: Array  # float32 [], before its weight
    similarity: Array  # float32 [], to the memory before the insertion
    remembered: Array  # bool []


class Settings(NamedTuple):
    """The numbers that go with a scenario."""

    memory: MemoryConfig
    bonus: BonusConfig
    reward: RewardConfig


def settings(scenario: str, parity: bool = False) -> Settings:
    """The published numbers for EC and ECO in a scenario.

    Raises:
        KeyError: an unknown scenario.
    """
    if scenario == ANT:
        memory = MemoryConfig(capacity=1000, aggregation="nth_largest")
        return Settings(memory, BonusConfig(offset=0.5, threshold=1.0), RewardConfig(task=0.0, bonus=1.0))
    if scenario in MAZES_WITHOUT_REWARD:
        memory = MemoryConfig(replacement="fifo" if parity else "random")
        return Settings(memory, BonusConfig(), RewardConfig(task=0.0, bonus=7 / 232))
    if scenario in MAZES:
        return Settings(MemoryConfig(), BonusConfig(), RewardConfig(task=1.0, bonus=7 / 232))
    raise KeyError(f"unknown scenario {scenario!r}; known: {', '.join(SCENARIOS)}")


def score(similarity: Array, done: Array, config: BonusConfig) -> Array:
    """The bonus `0.5 - similarity + offset`, and 0 where an episode has just ended. `[...] -> [...]`.

    In the paper's notation, `alpha (beta - C)`: alpha is `reward.bonus`, beta is `0.5 + offset`.
    """
    return jnp.where(done, 0.0, 0.5 - similarity + config.offset)


def remember(memory: Memory, key: Key, entry: Entry, judged: Array, done: Array, config: MemoryConfig) -> Memory:
    """Insert `entry` if `judged []`; at the end of an episode (`done []`) it opens an empty memory instead."""
    memory = dataclasses.replace(memory, inserted=jnp.where(done, 0, memory.inserted))
    return insert(memory, key, entry, config.replacement, judged | done)


def make_entry(net: RNetwork, variables: Variables, frame: Array, step: Array) -> Entry:
    """The entry for a frame `[H, W, C]` uint8 seen at vector step `step []`."""
    embedding = embed(net, variables, frame)
    return Entry(embedding, half_of_entry(net, variables, embedding), step)


def empty_memory(net: RNetwork, config: MemoryConfig) -> Memory:
    """A memory of `Entry` with nothing in it."""
    zeros = Entry(jnp.zeros(net.config.embedding), jnp.zeros(net.config.units), jnp.zeros((), jnp.int32))
    return init_memory(zeros, config.capacity)


def start(memory: Memory, key: Key, entry: Entry, config: MemoryConfig, parity: bool = False) -> Memory:
    """The memory at the start of an episode: it holds the first observation, or with `parity` nothing."""
    memory = clear(memory)
    return memory if parity else insert(memory, key, entry, config.replacement)


def observe(
    net: RNetwork,
    variables: Variables,
    memory: Memory,
    key: Key,
    entry: Entry,
    done: Array,
    memory_config: MemoryConfig,
    config: BonusConfig,
) -> tuple[Memory, Judgement]:
    """Score an observation against the memory, then remember it if it is new enough.

    Args:
        net: the module.
        variables: of the network.
        memory: of the environment, before the observation.
        key: for the slot that makes way.
        entry: of the observation after the step; after an automatic reset, that of the new episode.
        done: bool `[]`, whether the step ended an episode.
        memory_config: replacement and aggregation.
        config: threshold and offset.

    Returns:
        `(memory, judgement)`. An observation is remembered where its similarity is strictly below the threshold.
    """
    all_similarities = similarity(net, variables, entry.embedding, memory.entries.half)
    similar = aggregate(all_similarities, memory.filled, memory_config)
    new = similar < config.threshold
    memory = remember(memory, key, entry, new, done, memory_config)
    return memory, Judgement(score(similar, done, config), similar, new | done)


def refresh(net: RNetwork, variables: Variables, memory: Memory, frames: Array, parity: bool = False) -> Memory:
    """The memory as the network of `variables` sees it, after a round of training.

    The original kept embeddings made by the network before the round and compared them by the one after it, which
    `parity` does too.

    Args:
        net: the module.
        variables: of the network after the round.
        memory: of `Entry`.
        frames: uint8 `[capacity, H, W, C]`, what the entries were made of.
        parity: embed nothing again.

    Returns:
        A memory of the same observations.
    """
    entries: Entry = memory.entries
    embedding = entries.embedding if parity else jax.lax.map(partial(embed, net, variables), frames)
    entries = Entry(embedding, half_of_entry(net, variables, embedding), entries.step)
    return dataclasses.replace(memory, entries=entries)
