"""Matrix-product FLOPs: what the mathematics needs, and what the compiled program does."""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

from peg_jax.peg.config import AgentConfig, PEGConfig
from peg_jax.peg.networks import Spec
from peg_jax.peg.rssm import feature_size, predicted_size, stoch_size


class Layers(NamedTuple):
    """Multiply-adds per row of a network's first layer and of the rest."""

    first: int
    rest: int

    @property
    def forward(self) -> int:
        """One forward pass."""
        return self.first + self.rest


def _mlp(inputs: int, layers: int, units: int, outputs: int) -> Layers:
    return Layers(inputs * units, (layers - 1) * units**2 + units * outputs)


def _of_goal(
    inputs: int, context: int, layers: int, units: int, outputs: int, sine_scale: float
) -> tuple[Layers, Layers]:
    """A network of a state and a goal: the part done for every state, and the goal's part."""
    if not sine_scale:
        return _mlp(inputs, layers, units, outputs), Layers(context * units, 0)
    tower = layers * units**2  # the second layer reads twice the units
    return Layers(inputs * units, tower + units**2 + units * outputs), Layers(context * units, tower)


def _sum(parts: tuple[Layers, Layers]) -> Layers:
    return Layers(sum(part.first for part in parts), sum(part.rest for part in parts))


class _Sizes:
    """Multiply-adds per row of every part of the agent."""

    def __init__(self, config: AgentConfig, spec: Spec) -> None:
        model, distance, ensemble = config.world_model, config.distance, config.disagreement
        feature, embed = feature_size(model), model.units + model.grounded
        inferred = model.stoch * (model.classes or 2)
        stats = inferred + 2 * model.grounded
        observed = spec.obs_size * (1 + 2 * model.octaves)
        self.encoder = _mlp(observed, model.encoder_layers, model.units, 0)
        self.decoder = _mlp(feature, model.decoder_layers, model.units, spec.obs_size)
        self.embed_head = _mlp(feature, model.decoder_layers, model.units, embed)
        if model.grounded:
            self.decoder, self.embed_head = Layers(0, 0), self.encoder
        gru_inputs, hidden = model.hidden + model.deter, model.hidden
        read, self.prior_memory = (stoch_size(model) + spec.action_size) * hidden, 0
        if model.sine_scale:
            self.prior_memory = feature * hidden + 2 * hidden**2  # the state's tower
            read = _sum(_of_goal(feature, spec.action_size, 2, hidden, hidden, model.sine_scale)).forward
        advance = read + gru_inputs * 3 * model.deter
        self.prior_step = advance + model.deter * model.hidden + model.hidden * stats
        self.posterior = (model.deter + embed) * model.hidden + model.hidden * inferred
        self.distance, self.distance_context = _of_goal(
            embed, embed, distance.layers, distance.units, 1, distance.sine_scale
        )
        self.member = _mlp(feature + spec.action_size, ensemble.layers, ensemble.units, predicted_size(model))
        if ensemble.sine_scale:
            tower_sizes = (ensemble.layers, ensemble.units, predicted_size(model), ensemble.sine_scale)
            self.member = _sum(_of_goal(feature, spec.action_size, *tower_sizes))
        actions = spec.action_size * (1 if spec.discrete else 2)
        achiever = (config.achiever.layers, config.achiever.units)
        scale = config.achiever.sine_scale
        self.achiever, self.achiever_context = _of_goal(feature, embed, *achiever, actions, scale)
        self.achiever_critic, _ = _of_goal(feature, embed, *achiever, 1, scale)
        self.explorer = _mlp(feature, config.explorer.layers, config.explorer.units, actions)
        self.explorer_critic = _mlp(feature, config.explorer.layers, config.explorer.units, 1)


def _trained(layers: Layers) -> int:
    """Forward, weight gradient, and input gradient of all layers but the first."""
    return 2 * layers.forward + layers.rest


def needed_update_flops(config: PEGConfig, spec: Spec) -> dict[str, float]:
    """FLOPs of the matrix products that one full update needs, by part.

    Counted with each product once: contexts (a goal's share of a first layer) once per rollout, frozen networks
    without weight gradients, rewards of latents 0..H-1 and values of latents 1..H with their input gradients.
    """
    agent, batch = config.agent, config.replay.batch
    sizes, length, horizon = _Sizes(agent, spec), config.replay.length, agent.imagination.horizon
    rows = batch * length
    starts = agent.imagination.starts or rows
    negatives = int(agent.distance.negative_factor * agent.distance.positives)
    pairs = agent.distance.positives + negatives

    model = _trained(sizes.encoder) + 3 * (sizes.prior_step + sizes.posterior) + 3 * sizes.decoder.forward
    model += 0 if agent.world_model.grounded else _trained(sizes.embed_head)

    def dreamt(actor: Layers, critic: Layers, reward: int) -> int:
        return _trained(actor) + 2 * sizes.prior_step + 2 * reward + 2 * critic.forward + _trained(critic)

    reward = sizes.embed_head.forward + sizes.distance.forward
    achiever = horizon * dreamt(sizes.achiever, sizes.achiever_critic, reward)
    # Of the actor and of the critic, trained; of the slow critic and of the distance in the reward, frozen.
    contexts = 2 * _trained(sizes.achiever_context) + sizes.achiever_context.forward + sizes.distance_context.forward
    achiever_total = starts * (achiever + contexts)
    if agent.reaching.enabled:
        achiever_total = _counting_steps(agent, sizes, rows, starts)
    distance = 2 * sizes.embed_head.forward + _trained(sizes.distance) + _trained(sizes.distance_context)
    member = agent.disagreement.members * sizes.member.forward
    explorer_starts = agent.imagination.explorer_starts or starts
    explorer = explorer_starts * horizon * dreamt(sizes.explorer, sizes.explorer_critic, member)
    ensemble = batch * (length - 1) * agent.disagreement.members * _trained(sizes.member)
    return {
        "world_model": 2.0 * rows * model * agent.world_model.updates,
        "achiever": 2.0 * (achiever_total + pairs * distance),
        "explorer": 2.0 * explorer,
        "ensemble": 2.0 * ensemble,
    }


def _counting_steps(agent: AgentConfig, sizes: _Sizes, rows: int, starts: int) -> int:
    """Multiply-adds of the achiever that counts steps: dream, judge, values, tries, imitation, regression."""
    horizon, reaching = agent.imagination.horizon, agent.reaching
    actor, critic, context = sizes.achiever, sizes.achiever_critic, sizes.achiever_context
    latents, states = (horizon + 1) * starts, min(reaching.states, horizon * starts)
    dream = horizon * starts * (actor.forward + sizes.prior_step) + starts * context.forward
    judge = latents * (sizes.embed_head.forward + sizes.distance.forward) + starts * sizes.distance_context.forward
    values = latents * critic.forward + starts * context.forward
    # The state's tower serves all tries, and the policy that proposes is the one that imitates.
    tries = states * (context.forward + reaching.actions * (sizes.prior_step + critic.forward))
    tries -= states * (reaching.actions - 1) * sizes.prior_memory
    imitation = states * (_trained(actor) + _trained(context))
    regressed = horizon * starts * _trained(critic) + starts * _trained(context)
    paired = (horizon * starts + rows) * (_trained(critic) + _trained(context))
    goals = 0 if agent.world_model.grounded else rows * sizes.embed_head.forward
    return dream + judge + values + tries + imitation + regressed + paired + goals


def needed_plan_flops(config: PEGConfig, spec: Spec) -> float:
    """FLOPs of the matrix products of one goal search."""
    agent, planner = config.agent, config.planner
    sizes = _Sizes(agent, spec)
    member = agent.disagreement.members * sizes.member.forward
    step = sizes.achiever.forward + sizes.prior_step + member + sizes.explorer_critic.forward
    once = sizes.encoder.forward + sizes.achiever_context.forward
    tries = agent.reaching.acting
    if tries:  # the state's tower serves all of them, and the critic's context is the actor's over again
        step += tries * (sizes.prior_step + sizes.achiever_critic.forward) - (tries - 1) * sizes.prior_memory
        once += sizes.achiever_context.forward
    rollouts = planner.candidates * planner.repeat_samples * (1 if planner.evaluate_only else planner.iterations)
    return 2.0 * rollouts * (planner.horizon * step + once)


def compiled_matmul_flops(hlo: str) -> float:
    """FLOPs of the dots in XLA's optimised program text, loops counted as often as they run.

    XLA's own cost analysis counts a loop's body once. Loops without a known trip count are counted once too.
    """
    computations = _computations(hlo)
    entry = next(name for name, (is_entry, _) in computations.items() if is_entry)
    memo: dict[str, float] = {}

    def total(name: str) -> float:
        if name not in memo:
            lines = computations[name][1]
            shapes = {match[1]: match[2] for line in lines if (match := _RESULT.match(line))}
            memo[name] = sum(_line_flops(line, shapes, total) for line in lines)
        return memo[name]

    return total(entry)


_RESULT = re.compile(r"\s*(?:ROOT )?%?([\w.\-]+) = \w+\[([\d,]*)\]")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_OPERANDS = re.compile(r" dot\(([^)]*)\)")


def _computations(hlo: str) -> dict[str, tuple[bool, list[str]]]:
    found: dict[str, tuple[bool, list[str]]] = {}
    current: list[str] = []
    for line in hlo.splitlines():
        header = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if header:
            current = []
            found[header[2]] = (bool(header[1]), current)
        else:
            current.append(line)
    return found


def _line_flops(line: str, shapes: dict[str, str], total: Callable[[str], float]) -> float:
    operands = _OPERANDS.search(line)
    result = _RESULT.match(line)
    if operands and result:
        left = operands[1].split(",")[0].split()[-1].lstrip("%")
        inline = re.search(r"\w+\[([\d,]*)\]", operands[1])
        shape = _dims(shapes.get(left) or (inline[1] if inline else ""))
        contracting = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", line)
        contracted = _dims(contracting[1]) if contracting else []
        return 2.0 * math.prod(_dims(result[2])) * math.prod(shape[axis] for axis in contracted)
    trips = _TRIPS.search(line)
    return (int(trips[1]) if trips else 1) * sum(total(name) for name in _CALLED.findall(line))


def _dims(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]
