"""Three questions, apart from each other: can the achiever learn, does the explorer look where data is missing, does
the planner rank goals as real exploration does? `python -m experiments.diagnose achiever --preset=fast`."""

import dataclasses
import sys
import time

import jax

import envs
from experiments.cli import parse_run
from experiments.program import enable_compilation_cache
from peg_jax.core import rng
from peg_jax.core.environment import make_task
from peg_jax.peg import agent as agent_module
from peg_jax.peg import evaluation, rollout, training, world_model
from peg_jax.peg.networks import make_networks


def achiever(config, updates=4000, every=500, episodes=4000, log=print):
    env, params = envs.make(config.env)
    task = make_task(env, params)
    cover = make_task(env, dataclasses.replace(params, start_anywhere=True))
    algorithm = config.algorithm()
    spec = rollout.task_spec(task)
    filled = dataclasses.replace(algorithm, loop=dataclasses.replace(algorithm.loop, prefill=episodes))
    key = jax.random.key(config.seed)
    state = jax.jit(lambda k: training.init(cover, filled, k))(key)
    replay = training.build_replay(task, algorithm)
    nets_of = lambda c: make_networks(c.agent, spec)

    def one(carry, k):
        c, agent, replay_state = carry
        nets = nets_of(c)
        batch = replay.sample(replay_state, rng.named(k, "batch"), c.replay.batch)
        mk, sk, ak = rng.split(k, "m", "s", "a")
        model, inference, m1 = world_model.update(agent.world_model, nets, batch, mk, c.agent.world_model)
        starts = agent_module.choose_starts(c.agent, nets, model.params, inference, batch, sk)
        ach, dist, m2 = agent_module.update_achiever(c.agent, spec, nets, agent, model.params, starts, ak)
        agent = dataclasses.replace(agent, world_model=model, achiever=ach, distance=dist)
        return (c, agent, replay_state), m1 | m2

    @jax.jit
    def chunk(c, agent, replay_state, k):
        (_, agent, _), m = jax.lax.scan(one, (c, agent, replay_state), jax.random.split(k, every))
        return agent, jax.tree.map(lambda x: x[-100:].mean(), m)

    ev = jax.jit(lambda c, a, k: evaluation.evaluate(task, c, a, k, 5))
    agent = state.seed.agent
    t0 = None
    for i in range(updates // every):
        agent, m = jax.block_until_ready(chunk(algorithm, agent, state.seed.replay, jax.random.fold_in(key, i)))
        if t0 is None:
            t0 = time.time()
            per = 0
        else:
            per = (time.time() - t0) / (i * every)
        e = ev(algorithm, agent, jax.random.fold_in(key, 10_000 + i))
        s = e.success["success_cell"]
        m = {k: round(float(v), 3) for k, v in m.items()}
        log(
            f"{(i + 1) * every:6d} {per * 1e3:.0f}ms cell {float(s.mean()):.2f} pt {float(e.success['success'].mean()):.2f} |",
            " ".join(f"{float(x):.1f}" for x in s),
            "|",
            {
                k: m[k]
                for k in (
                    "observation_loss",
                    "model_kl",
                    "embed_error",
                    "dyn_dist_loss",
                    "reward_mean",
                    "actor_ent",
                    "critic",
                    "critic_loss",
                    "actor_grad_norm",
                )
            },
            flush=True,
        )
    return agent


if __name__ == "__main__":
    enable_compilation_cache()
    args = sys.argv[1:]
    n = int(args.pop(0))
    ev = int(args.pop(0))
    config, _ = parse_run(args)
    achiever(config, n, ev)
