"""An agent that knows only the gymnax API learns on Point Maze, and stops doing so when its rewards are shuffled."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import envs

LANES, STEPS, UPDATES, EPOCHS, HIDDEN = 256, 50, 45, 8, 32
DISCOUNT, TRACE, CLIP = 0.97, 0.95, 0.2
OPTIMISER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(5e-3))


def init_network(key, inputs, outputs):
    sizes = [(inputs, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, outputs)]
    keys = jax.random.split(key, len(sizes))
    scales = [1.0, 1.0, 0.01]
    return [
        (scale * jax.random.normal(k, size) / np.sqrt(size[0]), jnp.zeros(size[1]))
        for k, size, scale in zip(keys, sizes, scales, strict=True)
    ]


def network(weights, x):
    for matrix, bias in weights[:-1]:
        x = jnp.tanh(x @ matrix + bias)
    return x @ weights[-1][0] + weights[-1][1]


def log_prob(learned, x, raw):
    noise = (raw - network(learned["actor"], x)) / jnp.exp(learned["log_std"])
    return jnp.sum(-0.5 * noise**2 - learned["log_std"], axis=-1)


def loss(learned, batch):
    """Clipped policy gradient with a value baseline."""
    x, raw, old, advantage, target = batch
    ratio = jnp.exp(log_prob(learned, x, raw) - old)
    gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage)
    value = network(learned["critic"], x)[..., 0]
    return -jnp.mean(gain) + 0.5 * jnp.mean((value - target) ** 2) - 0.003 * jnp.sum(learned["log_std"])


def collect(key, learned, carry, env, params):
    """Acts in all lanes with automatic reset: the carry, and inputs, actions, rewards and ends `[T, B, ...]`."""
    space, actions = env.observation_space(params), env.action_space(params)

    def scaled(obs):
        return 4 * (obs - space.low) / (space.high - space.low) - 2

    def step(carry, key):
        obs, state = carry
        key_act, key_step = jax.random.split(key)
        x = scaled(obs)
        mean = network(learned["actor"], x)
        raw = mean + jnp.exp(learned["log_std"]) * jax.random.normal(key_act, mean.shape)
        action = actions.low + (jnp.clip(raw, -1, 1) + 1) / 2 * (actions.high - actions.low)
        obs, state, reward, terminated, truncated, info = jax.vmap(env.step, (0, 0, 0, None))(
            jax.random.split(key_step, LANES), state, action, params
        )
        following = scaled(info["final_observation"])
        return (obs, state), (x, raw, reward, terminated, terminated | truncated, following)

    return jax.lax.scan(step, carry, jax.random.split(key, STEPS))


def advantages(learned, x, reward, terminated, done, following):
    """Generalised advantages and value targets, `[T, B]` each."""
    value, next_value = (network(learned["critic"], inputs)[..., 0] for inputs in (x, following))
    delta = reward + DISCOUNT * (1.0 - terminated) * next_value - value

    def back(later, now):
        advantage = now[0] + DISCOUNT * TRACE * (1.0 - now[1]) * later
        return advantage, advantage

    advantage = jax.lax.scan(back, jnp.zeros(LANES), (delta, done), reverse=True)[1]
    return advantage, advantage + value


@functools.partial(jax.jit, static_argnames=("env",), compiler_options={"xla_backend_optimization_level": 2})
def train(key, env, params, shuffle):
    """Mean reward per step in each update, `[UPDATES]`. `shuffle` deals the rewards out anew among all transitions."""

    def update(carry, key):
        learned, optimiser, lanes = carry
        key_collect, key_shuffle = jax.random.split(key)
        lanes, (x, raw, reward, *ends) = collect(key_collect, learned, lanes, env, params)
        dealt = jax.random.permutation(key_shuffle, reward.ravel()).reshape(reward.shape)
        advantage, target = advantages(learned, x, jnp.where(shuffle, dealt, reward), *ends)
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-6)
        batch = (x, raw, log_prob(learned, x, raw), advantage, target)

        def descend(carry, _):
            learned, optimiser = carry
            change, optimiser = OPTIMISER.update(jax.grad(loss)(learned, batch), optimiser)
            return (optax.apply_updates(learned, change), optimiser), None

        (learned, optimiser), _ = jax.lax.scan(descend, (learned, optimiser), None, length=EPOCHS)
        return (learned, optimiser, lanes), reward.mean()

    inputs, outputs = env.observation_space(params).shape[0], env.action_space(params).shape[0]
    key_actor, key_critic, key_reset, key_train = jax.random.split(key, 4)
    learned = {
        "actor": init_network(key_actor, inputs, outputs),
        "critic": init_network(key_critic, inputs, 1),
        "log_std": jnp.full(outputs, -0.3),
    }
    lanes = jax.vmap(env.reset, (0, None))(jax.random.split(key_reset, LANES), params)
    carry = (learned, OPTIMISER.init(learned), lanes)
    return jax.lax.scan(update, carry, jax.random.split(key_train, UPDATES))[1]


@pytest.mark.slow
def test_an_agent_that_knows_only_gymnax_learns():
    """One goal cell, five passages away, and the sparse reward as it is; untrained policies get there now and then."""
    env, params = envs.make("point_maze", goal_in_observation=True)
    params = dataclasses.replace(params, goal_index=env.eval_goal_names.index("(3,0)"))
    reward, control = (np.asarray(train(jax.random.key(0), env, params, shuffle)) for shuffle in (False, True))
    # One plus the reward is the share of steps at the goal: under 0.01 at first, over 0.1 once it learns.
    assert reward[:3].mean() < -0.99
    assert reward[-3:].mean() > -0.9
    assert control[-3:].mean() < -0.99
