"""Trained networks that come with the project, `experiments/trained/<name>.npz`, with how each was made in a `.json`.

Only what acting needs is kept. Of PEG and its baselines: the model's weights, those of the achiever's actor and of its
slow critic. Of Episodic Curiosity: the policy's, and those of the R-network where there is one.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.config import RunConfig
from experiments.curiosity_config import CURIOUS, CuriosityRunConfig
from experiments.programs import ProgramName, program_named
from experiments.restored import CURIOSITY, PEG, CuriousRun, GoalRun, Restored
from peg_jax.core.config import ConfigError
from peg_jax.curiosity import training as curiosity
from peg_jax.peg.agent import AgentState
from peg_jax.peg.training import TrainState
from peg_jax.run.config_json import decode, encode
from peg_jax.run.directory import RunDirectory
from peg_jax.run.files import RunError, read_json, replacing, write_json

FOLDER = Path(__file__).parent / "trained"
QUICKLY = 1  # `optimization` of programs that play a few episodes, which compile in half the time


def publish(run: Restored[Any, Any, Any], name: str, facts: dict[str, Any], folder: Path) -> Path:
    """Write the weights of a run of one seed and, beside them, its options and `facts`; returns the weights' file."""
    file = folder / f"{name}.npz"
    arrays: dict[str, Any] = {leaf: np.asarray(x) for leaf, x in _named(_acting(run.config, run.state)).items()}
    with replacing(file) as temporary:
        np.savez_compressed(temporary, **arrays)
    write_json(file.with_suffix(".json"), {"env_steps": run.step} | facts | {"config": encode(run.config)})
    return file


def program_of(name: str, folder: Path = FOLDER) -> ProgramName:
    """Which program published weights are of.

    Raises:
        ConfigError: there are none of this name.
    """
    return program_named(_facts(name, folder)["config"])


def published(name: str, folder: Path = FOLDER) -> str:
    """What published weights are and how they scored when they were, in a line.

    Raises:
        ConfigError: there are none of this name.
    """
    facts = _facts(name, folder)
    if "success" in facts:
        scores = [f"{metric} {np.mean(values):.2f}" for metric, values in facts["success"].items()]
        episodes = f"{facts['episodes_per_goal']} episodes per goal"
    else:
        scores = [f"{split} reward {np.mean(measured['reward']):.2f}" for split, measured in facts["scores"].items()]
        episodes = f"{facts['episodes']} episodes each"
    made = f"the weights are those after {facts['env_steps']:,} steps of {facts['command']}"
    return f"published   {', '.join(scores)} in {episodes}; {made}"


def load(name: str, folder: Path = FOLDER) -> GoalRun:
    """A published run of PEG as far as evaluating needs it; the rest of the state is abstract, or zeros in the agent.

    Raises:
        ConfigError: there is none of this name.
        RunError: this version's networks are others.
    """
    facts = _facts(name, folder)
    config = replace(decode(RunConfig, facts["config"]), optimization=QUICKLY)
    task = PEG.run_task(config)
    state = PEG.abstract_state(config, task)
    agent = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), state.seed.agent)
    parts = _read(folder / f"{name}.npz", _acting(config, state))
    state = replace(state, seed=replace(state.seed, agent=_with(agent, parts)))
    return Restored(RunDirectory(f"runs/pretrained_{name}"), config, task, state, facts["env_steps"])


def load_curious(name: str, folder: Path = FOLDER) -> CuriousRun:
    """The same of a run of Episodic Curiosity."""
    facts = _facts(name, folder)
    config = replace(decode(CuriosityRunConfig, facts["config"]), optimization=QUICKLY)
    task = CURIOSITY.run_task(config)
    state = CURIOSITY.abstract_state(config, task)
    parts, seed = _read(folder / f"{name}.npz", _acting(config, state)), state.seed
    seed = replace(seed, learner=replace(seed.learner, params=parts["policy"]))
    if "r_network" in parts:
        known, network = parts["r_network"], seed.bonus.network
        network = replace(network, learner=replace(network.learner, params=known.params), stats=known.stats)
        seed = replace(seed, bonus=replace(seed.bonus, network=network))
    return Restored(
        RunDirectory(f"runs/pretrained_{name}"), config, task, replace(state, seed=seed), facts["env_steps"]
    )


def _facts(name: str, folder: Path) -> dict[str, Any]:
    file = folder / f"{name}.npz"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.npz"))) or "none"
        raise ConfigError(f"--pretrained={name} cannot work: known weights: {known}")
    facts: dict[str, Any] = read_json(file.with_suffix(".json"))
    return facts


def _acting(config: RunConfig | CuriosityRunConfig, state: TrainState | curiosity.TrainState) -> dict[str, Any]:
    if isinstance(state, TrainState):
        agent = state.seed.agent
        return {"model": agent.model, "actor": agent.achiever.actor.params, "critic": agent.achiever.slow_critic}
    known = {"r_network": state.seed.bonus.network.variables} if config.method in CURIOUS else {}
    return {"policy": state.seed.learner.params} | known


def _named(parts: dict[str, Any]) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(parts)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _read(file: Path, like: dict[str, Any]) -> dict[str, Any]:
    with np.load(file, allow_pickle=False) as arrays:
        stored = {leaf: jnp.asarray(arrays[leaf]) for leaf in arrays.files}
    shapes = {name: leaf.shape for name, leaf in _named(like).items()}
    if shapes != {name: leaf.shape for name, leaf in stored.items()}:
        raise RunError(f"{file} was made by another version, whose networks have other sizes")
    parts: dict[str, Any] = jax.tree.unflatten(jax.tree.structure(like), [stored[name] for name in shapes])
    return parts


def _with(agent: AgentState, parts: dict[str, Any]) -> AgentState:
    actor = replace(agent.achiever.actor, params=parts["actor"])
    agent = replace(agent, achiever=replace(agent.achiever, actor=actor, slow_critic=parts["critic"]))
    if agent.averaged is None:
        return replace(agent, world_model=replace(agent.world_model, params=parts["model"]))
    return replace(agent, averaged=parts["model"])
