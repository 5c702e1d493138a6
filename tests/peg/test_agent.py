"""One full update: who is changed by what, goals, seeds, bad numbers (conformance tests 11 and 22)."""

import dataclasses
from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from peg_jax.core.replay import Episode
from peg_jax.core.returns import lambda_return
from peg_jax.core.types import Array, Key, Params
from peg_jax.peg import actor_critic, agent, disagreement, distance, world_model
from peg_jax.peg.agent import AgentState, Starts
from peg_jax.peg.config import ReachingConfig
from peg_jax.peg.imagination import Dream, PolicyFn, ValueFn, discount_weights, imagine
from peg_jax.peg.networks import make_networks
from peg_jax.peg.rssm import Latent
from peg_jax.peg.world_model import Inference
from tests.peg import tiny

CONFIG, SPEC = tiny.agent_config(), tiny.spec()
NETS = make_networks(CONFIG, SPEC)
BATCH = tiny.random_batch(jax.random.key(1))
LEARNERS = {  # path in the state -> path of its optimiser in the configuration
    "world_model": "world_model.optimizer",
    "distance": "distance.optimizer",
    "disagreement": "disagreement.optimizer",
    "achiever.actor": "achiever.actor",
    "achiever.critic": "achiever.critic",
    "explorer.actor": "explorer.actor",
    "explorer.critic": "explorer.critic",
}
traces = []


def _update(config: Any, state: AgentState, batch: Episode, key: Key) -> tuple[AgentState, dict]:
    traces.append(config)
    return agent.update(config, SPEC, state, jax.tree.map(lambda x: x[None], batch), key)


update = jax.jit(_update)
init = jax.jit(lambda key: agent.init(CONFIG, SPEC, key))


@pytest.fixture(scope="module")
def state() -> AgentState:
    return init(jax.random.key(0))


@pytest.fixture(scope="module")
def updated(state: AgentState) -> tuple[AgentState, dict]:
    return update(CONFIG, state, BATCH, jax.random.key(2))


def get(tree: Any, path: str) -> Any:
    return reduce(getattr, path.split("."), tree)


def params_of(state: AgentState) -> dict[str, Params]:
    return {path: get(state, path).params for path in LEARNERS}


def equal(a: Any, b: Any) -> bool:
    return all(bool(jnp.array_equal(x, y)) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def close(a: Any, b: Any) -> bool:
    """Equal up to rounding: XLA fuses one sum differently in two places or programs, as the processor suits it."""
    return all(bool(jnp.allclose(x, y, atol=1e-6)) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_an_update_changes_every_network_and_is_finite(state: AgentState, updated: tuple[AgentState, dict]) -> None:
    after, metrics = updated
    for path, before in params_of(state).items():
        assert not equal(before, get(after, path).params), path
    assert all(bool(jnp.isfinite(value)) for value in metrics.values())
    assert float(metrics["skipped_updates"]) == 0.0


@pytest.mark.parametrize("only", LEARNERS)
def test_a_network_is_changed_by_its_own_optimiser_alone(state: AgentState, only: str) -> None:
    """With every other learning rate at zero nothing else moves: no loss's gradient is applied to another's network.

    In particular the achiever's loss, which differentiates through encoder-fed RSSM, embed head and distance network,
    leaves all of them alone.
    """
    config = CONFIG
    for path, option in LEARNERS.items():
        optimizer = get(config, option)
        rate = 1e-3 if path == only else 0.0
        config = tiny.replace(config, option, dataclasses.replace(optimizer, learning_rate=rate, weight_decay=0.0))
    after, _ = update(config, state, BATCH, jax.random.key(2))
    changed = {path for path, before in params_of(state).items() if not equal(before, get(after, path).params)}
    assert changed == {only}


def test_the_world_model_moves_exactly_by_its_own_loss(state: AgentState, updated: tuple[AgentState, dict]) -> None:
    """Its step does not depend on anything the policies do: other entropy, same model."""
    config = tiny.replace(CONFIG, "achiever.entropy", 10.0)
    other, _ = update(config, state, BATCH, jax.random.key(2))
    assert equal(other.world_model, updated[0].world_model)
    assert not equal(other.achiever.actor.params, updated[0].achiever.actor.params)


def test_the_same_key_gives_the_same_bits_and_another_key_others(
    state: AgentState, updated: tuple[AgentState, dict]
) -> None:
    assert equal(update(CONFIG, state, BATCH, jax.random.key(2)), updated)
    assert not equal(update(CONFIG, state, BATCH, jax.random.key(3))[0], updated[0])


def test_two_seeds_start_from_different_networks(state: AgentState) -> None:
    assert equal(init(jax.random.key(0)), state)
    for path, params in params_of(init(jax.random.key(1))).items():
        assert not equal(params, get(state, path).params), path


def test_numbers_do_not_recompile_and_sizes_do(state: AgentState, updated: tuple[AgentState, dict]) -> None:
    before = len(traces)
    for option, value in [
        ("world_model.optimizer.learning_rate", 1e-2),
        ("imagination.discount", 0.5),
        ("explorer.entropy", 1.0),
        ("disagreement.scale", 2.0),
        ("world_model.kl_free", 0.0),
        ("achiever.slow_fraction", 0.5),
    ]:
        changed, _ = update(tiny.replace(CONFIG, option, value), state, BATCH, jax.random.key(2))
        assert not equal(changed, updated[0]), option  # and the new value counts
    assert len(traces) == before
    update.trace(tiny.replace(CONFIG, "distance.positives", 9), state, BATCH, jax.random.key(2))
    assert len(traces) == before + 1


@pytest.mark.slow
def test_vmap_over_seeds_equals_a_loop() -> None:
    keys = jax.random.split(jax.random.key(5), 2)
    states = [init(key) for key in keys]
    batches = [tiny.random_batch(key) for key in keys]
    alone = [update(CONFIG, s, b, k) for s, b, k in zip(states, batches, keys, strict=True)]

    def stack(trees: list) -> Any:
        return jax.tree.map(lambda *x: jnp.stack(x), *trees)

    together = jax.jit(jax.vmap(update, in_axes=(None, 0, 0, 0)))(CONFIG, stack(states), stack(batches), keys)
    for ours, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(stack(alone)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def test_a_batch_with_nan_is_skipped_by_all_seven_optimisers_and_recovered_from(
    state: AgentState, updated: tuple[AgentState, dict]
) -> None:
    poisoned = dataclasses.replace(BATCH, obs=BATCH.obs.at[2, 1, 0].set(jnp.nan))
    after, metrics = update(CONFIG, updated[0], poisoned, jax.random.key(3))
    assert float(metrics["skipped_updates"]) == 1.0
    for path in LEARNERS:
        old, new = get(updated[0], path), get(after, path)
        assert equal((old.params, old.opt_state), (new.params, new.opt_state)), path
        assert int(new.skipped) == 1
    assert equal(after.achiever.slow_critic, updated[0].achiever.slow_critic)
    recovered, metrics = update(CONFIG, after, BATCH, jax.random.key(4))
    assert float(metrics["skipped_updates"]) == 0.0
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(params_of(recovered)))
    assert not equal(recovered.world_model.params, after.world_model.params)


def test_nan_that_only_the_ensemble_meets_leaves_the_achiever_training(state: AgentState) -> None:
    """The last action of a sequence feeds the model too, so the poison is put into the ensemble's own weights."""
    members = jax.tree.map(lambda x: x.at[(0,) * x.ndim].set(jnp.nan), state.disagreement.params)
    after, _ = update(CONFIG, tiny.replace(state, "disagreement.params", members), BATCH, jax.random.key(2))
    skipped = {path: int(get(after, path).skipped) for path in LEARNERS}
    explorers = {"disagreement", "explorer.actor", "explorer.critic"}
    assert skipped == {path: int(path in explorers) for path in LEARNERS}


def test_slow_critics_are_copied_after_update_1_and_101_and_stay_between(state: AgentState) -> None:
    copied = {"achiever": [], "explorer": []}
    current = state
    for index in range(1, 104):
        current, _ = update(CONFIG, current, BATCH, jax.random.key(index))
        for name, found in copied.items():
            policy = getattr(current, name)
            if equal(policy.slow_critic, policy.critic.params):
                found.append(index)
    assert copied == {"achiever": [1, 101], "explorer": [1, 101]}


# --- goals of the imagined rollouts ---

LENGTH, SIZE = 5, 4


@pytest.fixture(scope="module")
def inference() -> Inference:
    keys = jax.random.split(jax.random.key(0), 3)
    latents = Latent(jax.random.normal(keys[0], (LENGTH, SIZE, 4)), jax.random.normal(keys[1], (LENGTH, SIZE, 6)))
    return Inference(latents, jax.random.normal(keys[2], (LENGTH, SIZE, 6)))


def starts_for(config: Any, state: AgentState, inference: Inference, key: Key) -> Starts:
    batch = tiny.random_batch(jax.random.key(9), LENGTH, SIZE)
    return agent.choose_starts(config, NETS, state.world_model.params, inference, batch, key)


def rows(x: Array) -> list[tuple]:
    return sorted(map(tuple, np.asarray(x).reshape(-1, x.shape[-1]).tolist()))


def test_goals_are_a_permutation_of_the_batchs_embeddings(state: AgentState, inference: Inference) -> None:
    starts = starts_for(CONFIG, state, inference, jax.random.key(1))
    assert rows(starts.goal_embed) == rows(inference.embeds)
    assert starts.goal_embed.tolist() != inference.embeds.reshape(-1, 6).tolist()
    other = starts_for(CONFIG, state, inference, jax.random.key(2))
    assert other.goal_embed.tolist() != starts.goal_embed.tolist()


def test_every_posterior_is_a_start_and_knows_its_replay_sequence(state: AgentState, inference: Inference) -> None:
    starts = starts_for(CONFIG, state, inference, jax.random.key(1))
    flat = np.asarray(inference.latents.feature)
    for feature, sequence in zip(np.asarray(starts.latent.feature), starts.sequence, strict=True):
        assert any((feature == flat[t, int(sequence)]).all() for t in range(LENGTH))
    assert rows(starts.latent.feature) == rows(inference.latents.feature)


def test_a_subset_of_starts_keeps_latent_and_sequence_together(state: AgentState, inference: Inference) -> None:
    config = tiny.replace(CONFIG, "imagination.starts", 7)
    starts = starts_for(config, state, inference, jax.random.key(1))
    assert starts.goal_embed.shape[0] == starts.sequence.shape[0] == 7
    assert len(set(rows(starts.latent.feature))) == 7
    flat = np.asarray(inference.latents.feature)
    for feature, sequence in zip(np.asarray(starts.latent.feature), starts.sequence, strict=True):
        assert any((feature == flat[t, int(sequence)]).all() for t in range(LENGTH))


def test_some_of_the_places_are_drawn_anew_and_all_of_them_stay_as_they_are() -> None:
    places = {"latent": jnp.arange(12.0).reshape(6, 2), "sequence": jnp.arange(6)}
    assert agent.some_of(places, 0, jax.random.key(0)) is places
    assert agent.some_of(places, 6, jax.random.key(0)) is places
    drawn = [agent.some_of(places, 3, jax.random.key(seed)) for seed in range(4)]
    for some in drawn:
        assert some["latent"].tolist() == [[2.0 * i, 2.0 * i + 1.0] for i in some["sequence"].tolist()]
        assert len(set(some["sequence"].tolist())) == 3
    assert len({tuple(some["sequence"].tolist()) for some in drawn}) > 1


def test_the_explorer_alone_dreams_from_fewer_states(state: AgentState, updated: tuple[AgentState, dict]) -> None:
    fewer = update(tiny.replace(CONFIG, "imagination.explorer_starts", 5), state, BATCH, jax.random.key(2))[0]
    before, after = params_of(updated[0]), params_of(fewer)

    def moved(path: str) -> bool:  # by more than another program rounds
        pairs = zip(jax.tree.leaves(before[path]), jax.tree.leaves(after[path]), strict=True)
        return any(float(jnp.abs(x - y).max()) > 1e-5 for x, y in pairs)

    assert set(filter(moved, LEARNERS)) == {"explorer.actor", "explorer.critic"}


COUNTS_STEPS = tiny.replace(CONFIG, "reaching", ReachingConfig(enabled=True, states=7, actions=4))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_an_achiever_that_counts_steps_meets_predicted_embeddings_as_goals(
    share: float, state: AgentState, inference: Inference
) -> None:
    config = tiny.replace(COUNTS_STEPS, "reaching.predicted_goals", share)
    predicted = world_model.predict_embed(NETS, state.world_model.params, inference.latents.feature)
    starts = starts_for(config, state, inference, jax.random.key(1))
    expected = predicted if share else inference.embeds
    np.testing.assert_allclose(rows(starts.goal_embed), rows(expected), atol=1e-6)


def test_counting_steps_trains_every_network_and_skips_what_is_not_finite(state: AgentState) -> None:
    after, metrics = update(COUNTS_STEPS, state, BATCH, jax.random.key(2))
    for path, before in params_of(state).items():
        assert not equal(before, get(after, path).params), path
    assert all(bool(jnp.isfinite(value)) for value in metrics.values())
    assert float(metrics["skipped_updates"]) == 0.0
    assert 0.0 <= float(metrics["reached"]) <= 1.0
    poisoned = dataclasses.replace(BATCH, obs=BATCH.obs.at[2, 1, 0].set(jnp.nan))
    broken, metrics = update(COUNTS_STEPS, after, poisoned, jax.random.key(3))
    assert float(metrics["skipped_updates"]) == 1.0
    assert equal(params_of(broken), params_of(after))


def test_counting_steps_leaves_what_else_is_learned_alone(state: AgentState) -> None:
    """Model, ensemble and explorer do not notice how the achiever learns, except for the goals' random numbers."""
    ours, _ = update(COUNTS_STEPS, state, BATCH, jax.random.key(2))
    published, _ = update(CONFIG, state, BATCH, jax.random.key(2))
    for part in ("world_model", "disagreement", "explorer"):
        assert close(getattr(ours, part), getattr(published, part)), part
    assert not equal(ours.achiever.actor.params, published.achiever.actor.params)


def test_with_averaged_weights_everything_but_the_models_own_training_uses_them(state: AgentState) -> None:
    """Of another average, the model learns the same and the policies, which dream with it, something else."""
    config = tiny.replace(CONFIG, "world_model.averaged", True)
    old = dataclasses.replace(state, averaged=jax.tree.map(lambda x: 1.1 * x, state.world_model.params))
    newest, slow = (
        update(tiny.replace(config, "world_model.average_decay", decay), old, BATCH, jax.random.key(2))[0]
        for decay in (0.0, 0.98)
    )
    assert close(newest.model, newest.world_model.params)
    mixed = jax.tree.map(lambda a, b: 0.1 * a + 0.9 * b, old.averaged, slow.world_model.params)  # of the first update
    assert close(slow.model, mixed)
    assert equal(newest.world_model, slow.world_model)  # the decay is a value: one program computed both
    for part in ("achiever.actor.params", "explorer.actor.params", "distance.params", "disagreement.params"):
        assert not equal(get(newest, part), get(slow, part)), part


def test_recorded_goals_are_encoded_in_place(state: AgentState, inference: Inference) -> None:
    starts = starts_for(tiny.replace(CONFIG, "imagination.goals", "record"), state, inference, jax.random.key(1))
    goals = tiny.random_batch(jax.random.key(9), LENGTH, SIZE).goal.reshape(-1, tiny.SIZE)
    np.testing.assert_allclose(starts.goal_embed, world_model.encode(NETS, state.world_model.params, goals), rtol=1e-5)


def test_hindsight_goals_come_later_in_the_same_sequence() -> None:
    """Embeddings that name their place; of 5 records the first has four equally likely successors."""
    sequences = 4000
    time, sequence = jnp.meshgrid(jnp.arange(5.0), jnp.arange(float(sequences)), indexing="ij")
    embeds = jnp.stack([time, sequence], axis=-1)
    goals = np.asarray(agent.hindsight_goals(embeds, jax.random.key(0))).reshape(5, sequences, 2)
    np.testing.assert_array_equal(goals[..., 1], sequence)
    for now in range(4):
        later, counts = np.unique(goals[now, :, 0], return_counts=True)
        assert later.tolist() == list(range(now + 1, 5))
        np.testing.assert_allclose(counts / sequences, 1 / len(later), atol=5 * 0.5 / sequences**0.5)
    assert (goals[4, :, 0] == 4).all()  # the last record gets itself


# --- gradients of the policies ---


@pytest.fixture(scope="module")
def starts(state: AgentState, inference: Inference) -> Starts:
    return starts_for(CONFIG, state, inference, jax.random.key(1))


def plain_rewards(state: AgentState, goal: Array) -> dict[str, Callable[[Array, Array, Array], Array]]:
    """The two rewards written down plainly, differentiated by JAX as they stand."""
    model = state.world_model.params

    def achiever(feature: Array, previous: Array, following: Array) -> Array:
        return -distance.between(
            NETS.distance, state.distance.params, world_model.predict_embed(NETS, model, feature), goal
        )

    def explorer(feature: Array, previous: Array, following: Array) -> Array:
        inputs = jnp.concatenate([feature, previous], axis=-1)
        return disagreement.reward(NETS.member, state.disagreement.params, inputs, CONFIG.disagreement)

    return {"achiever": achiever, "explorer": explorer}


@pytest.mark.parametrize("name", ["achiever", "explorer"])
def test_actor_gradients_equal_plain_differentiation(name: str, state: AgentState, starts: Starts) -> None:
    """Rewards and values drop their activations on the way forward; the gradient must not notice.

    Also: the reward at each step of a rollout is the one toward that rollout's one goal.
    """
    model, key = state.world_model.params, jax.random.key(4)
    goal = starts.goal_embed if name == "achiever" else None
    policy_state, nets, config = getattr(state, name), getattr(NETS, name), getattr(CONFIG, name)
    lean = {
        "achiever": agent.achiever_reward(CONFIG, NETS, state, model, starts.goal_embed),
        "explorer": agent.explorer_reward(CONFIG, NETS, state.disagreement.params, differentiable=True),
    }[name]
    plain = plain_rewards(state, starts.goal_embed)[name]

    def dream(reward: Any, policy: PolicyFn, value: ValueFn, key: Key) -> Dream:
        dynamics = agent.make_dynamics(CONFIG.imagination, NETS, model)
        return imagine(starts.latent, SPEC.action_size, policy, dynamics, reward, value, 3, key)

    def plain_loss(params: Params) -> tuple[Array, Dream]:
        policy = actor_critic.make_policy(nets, params, config, goal)
        dreamt = dream(plain, policy, actor_critic.make_value(nets, policy_state.slow_critic, goal), key)
        returns = lambda_return(dreamt.reward, dreamt.value_tp1, 0.99, 0.95)
        return actor_critic.actor_loss(dreamt, returns, discount_weights(3, 0.99), config.entropy), dreamt

    @jax.jit
    def both() -> tuple:
        expected = jax.value_and_grad(plain_loss, has_aux=True)(policy_state.actor.params)
        ours = actor_critic.update(
            policy_state, nets, lambda p, v, k: dream(lean, p, v, k), goal, key, config, CONFIG.imagination
        )
        return expected, ours

    ((loss, dreamt), gradient), (after, ours, metrics) = both()
    assert float(metrics["actor_loss"]) == pytest.approx(float(loss), rel=1e-5)
    np.testing.assert_allclose(ours.reward, dreamt.reward, rtol=1e-4, atol=1e-6)
    # Adam's first moment is a tenth of the gradient after one step.
    applied = 10.0 * ravel_pytree(optax.tree.get(after.actor.opt_state, "mu"))[0]
    expected = ravel_pytree(gradient)[0]
    assert float(jnp.abs(expected).max()) > 1e-4
    np.testing.assert_allclose(applied, expected, rtol=1e-3, atol=1e-5 * float(jnp.abs(expected).max()))
