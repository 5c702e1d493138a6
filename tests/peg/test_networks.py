"""Parameter counts (conformance test 21). Only shapes are evaluated; nothing is compiled."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from peg_jax.peg import agent
from peg_jax.peg.agent import AgentState
from peg_jax.peg.config import AgentConfig
from peg_jax.peg.networks import Spec
from tests.peg import tiny

SPECS = {"point": Spec(2, 2), "walker": Spec(9, 6), "ant": Spec(29, 8), "stack": Spec(14, 4)}
COUNTS = {
    "encoder": (322_000, 324_800, 332_800, 326_800),
    "rssm": (453_000, 453_800, 454_200, 453_400),
    "decoder": (422_002, 424_809, 432_829, 426_814),
    "embed_head": (581_600, 581_600, 581_600, 581_600),
    "model": (1_778_602, 1_785_009, 1_801_429, 1_788_614),
    "achiever_actor": (743_204, 746_412, 748_016, 744_808),
    "achiever_critic": (742_001, 742_001, 742_001, 742_001),
    "achiever_slow": (742_001, 742_001, 742_001, 742_001),
    "distance": (802_001, 802_001, 802_001, 802_001),
    "explorer_actor": (583_204, 586_412, 588_016, 584_808),
    "explorer_critic": (582_001, 582_001, 582_001, 582_001),
    "explorer_slow": (582_001, 582_001, 582_001, 582_001),
    "disagreement": (6_024_500, 6_040_500, 6_048_500, 6_032_500),
}


def shapes(config: AgentConfig, spec: Spec) -> AgentState:
    return jax.eval_shape(lambda key: agent.init(config, spec, key), jax.random.key(0))


def count(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("index", range(4), ids=list(SPECS))
def test_parameter_counts_are_the_published_ones(index: int) -> None:
    state = shapes(AgentConfig(), list(SPECS.values())[index])
    model = state.world_model.params
    counts = {
        **{part: count(model[part]) for part in ("encoder", "rssm", "decoder", "embed_head")},
        "model": count(model),
        "achiever_actor": count(state.achiever.actor.params),
        "achiever_critic": count(state.achiever.critic.params),
        "achiever_slow": count(state.achiever.slow_critic),
        "distance": count(state.distance.params),
        "explorer_actor": count(state.explorer.actor.params),
        "explorer_critic": count(state.explorer.critic.params),
        "explorer_slow": count(state.explorer.slow_critic),
        "disagreement": count(state.disagreement.params),
    }
    assert counts == {name: values[index] for name, values in COUNTS.items()}


def test_bfloat16_changes_no_type_or_shape_of_the_state() -> None:
    config = tiny.agent_config(dtype="bfloat16")
    batch = jax.eval_shape(lambda key: jax.tree.map(lambda x: x[None], tiny.random_batch(key)), jax.random.key(0))
    state = shapes(config, tiny.spec())
    after, metrics = jax.eval_shape(
        lambda state, batch, key: agent.update(config, tiny.spec(), state, batch, key), state, batch, jax.random.key(0)
    )
    before = jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == before
    assert {x.dtype for x in metrics.values()} == {jnp.dtype(jnp.float32)}
