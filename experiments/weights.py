"""Trained achievers that come with the project, `experiments/trained/<name>.npz`, with how each was made in a `.json`.

Only what acting needs is kept: the model's weights, those of the achiever's actor and of its slow critic.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.config import RunConfig
from experiments.program import abstract_state, run_task
from experiments.restored import Restored
from peg_jax.core.config import ConfigError
from peg_jax.core.environment import Task
from peg_jax.peg.agent import AgentState
from peg_jax.peg.training import TrainState
from peg_jax.run.config_json import decode, encode
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError, read_json, replacing, write_json

FOLDER = Path(__file__).parent / "trained"


def publish(run: Restored[RunConfig, Task, TrainState], name: str, facts: dict[str, Any], folder: Path) -> Path:
    """Write the weights of a run of one seed and, beside them, its options and `facts`; returns the weights' file."""
    file = folder / f"{name}.npz"
    arrays: dict[str, Any] = {leaf: np.asarray(x) for leaf, x in _named(run.state.seed.agent).items()}
    with replacing(file) as temporary:
        np.savez_compressed(temporary, **arrays)
    write_json(file.with_suffix(".json"), {"env_steps": run.step} | facts | {"config": encode(run.config)})
    return file


def load(name: str, folder: Path = FOLDER) -> Restored[RunConfig, Task, TrainState]:
    """A published run as far as evaluating needs it: its agent without moments; the rest of the state is abstract.

    Raises:
        ConfigError: there is none of this name.
        RunError: this version's networks are others.
    """
    file = folder / f"{name}.npz"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.npz"))) or "none"
        raise ConfigError(f"--pretrained={name} cannot work: known weights: {known}")
    facts = read_json(file.with_suffix(".json"))
    config = decode(RunConfig, facts["config"])
    task = run_task(config)
    state = abstract_state(config, task)
    agent = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), state.seed.agent)
    with np.load(file, allow_pickle=False) as stored:
        agent = _with(agent, {leaf: jnp.asarray(stored[leaf]) for leaf in stored.files}, file)
    state = replace(state, seed=replace(state.seed, agent=agent))
    return Restored(RunDirectory(f"runs/pretrained_{name}"), config, task, state, facts["env_steps"])


def _acting(agent: AgentState) -> dict[str, Any]:
    return {"model": agent.model, "actor": agent.achiever.actor.params, "critic": agent.achiever.slow_critic}


def _named(agent: AgentState) -> dict[str, jax.Array]:
    leaves = jax.tree_util.tree_leaves_with_path(_acting(agent))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _with(agent: AgentState, stored: dict[str, jax.Array], file: Path) -> AgentState:
    shapes = {name: leaf.shape for name, leaf in _named(agent).items()}
    if shapes != {name: leaf.shape for name, leaf in stored.items()}:
        raise RunError(f"{file} was made by another version, whose networks have other sizes")
    parts = jax.tree.unflatten(jax.tree.structure(_acting(agent)), [stored[name] for name in shapes])
    actor = replace(agent.achiever.actor, params=parts["actor"])
    agent = replace(agent, achiever=replace(agent.achiever, actor=actor, slow_critic=parts["critic"]))
    if agent.averaged is None:
        return replace(agent, world_model=replace(agent.world_model, params=parts["model"]))
    return replace(agent, averaged=parts["model"])
