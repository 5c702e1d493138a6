"""One physics step function, `(state, control) -> state`, computed by MJX or by C MuJoCo on the same model.

Both are functions of state and control alone: no solver is warm-started across agent steps. MJX is for accelerators;
on a CPU the C engine is many times faster.
"""

import contextlib
import copy
import functools
import io
import os
import threading
import warnings
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import mujoco
import mujoco.rollout
import numpy as np
from flax import struct

ASSETS = Path(__file__).parent / "assets"

# Enough for contacts of our models to converge (one-step error against 100 iterations: 0 at the 99th percentile), and
# few enough that a batch does not wait for its slowest member.
MJX_ITERATIONS, MJX_LS_ITERATIONS = 4, 8
THREADS = 8  # of XLA's CPU backend under MJX, at least

_CONTROL = (
    mujoco.mjtState.mjSTATE_CTRL.value
    | mujoco.mjtState.mjSTATE_MOCAP_POS.value
    | mujoco.mjtState.mjSTATE_MOCAP_QUAT.value
)


@struct.dataclass
class PhysicsState:
    """All that the next step depends on; contacts, forces and accelerations follow from it."""

    qpos: jax.Array  # [nq] positions, float32
    qvel: jax.Array  # [nv] velocities, float32


class Engine(Protocol):
    """What computes the physics."""

    name: str

    def step(self, state: PhysicsState, control: jax.Array) -> PhysicsState:
        """Advance by one agent step under a constant control.

        Args:
            state: of one world; callers `vmap`.
            control: `[nu + 7 * nmocap]`, the actuators' controls, then positions and orientations of mocap bodies.
        """


def last_good(after: PhysicsState, before: PhysicsState) -> tuple[PhysicsState, jax.Array]:
    """The state after a step, or where it has diverged the one before, and whether it is the former, bool `[]`.

    The limit is MuJoCo's own, whose engines differ in what they make of states beyond it.
    """
    good = jnp.asarray(True)
    for values in jax.tree.leaves(after):
        good &= (jnp.abs(values) < mujoco.mjMAXVAL).all()
    return jax.tree.map(lambda new, old: jnp.where(good, new, old), after, before), good


def load_model(name: str) -> mujoco.MjModel:
    """The model of `assets/<name>.xml`."""
    return mujoco.MjModel.from_xml_path(str(ASSETS / f"{name}.xml"))


def resolve(physics: str) -> str:
    """`mjx` or `mujoco`: what `auto` stands for on this machine.

    Raises:
        ValueError: no such engine.
    """
    if physics not in ("auto", "mjx", "mujoco"):
        raise ValueError(f"unknown physics {physics!r}; known: auto, mjx, mujoco")
    if physics == "auto":
        return "mujoco" if jax.default_backend() == "cpu" else "mjx"
    return physics


def make_engine(model: mujoco.MjModel, substeps: int, physics: str = "auto") -> Engine:
    """The engine called `physics`, taking `substeps` steps of the model's `timestep` per agent step.

    Raises:
        ValueError: no such engine.
    """
    if resolve(physics) == "mjx":
        return MjxEngine(model, substeps)
    return MujocoEngine(model, substeps)


def with_mjx_solver(model: mujoco.MjModel) -> mujoco.MjModel:
    """A copy of the model with the solver's limits that MJX runs with."""
    model = copy.copy(model)
    model.opt.iterations, model.opt.ls_iterations = MJX_ITERATIONS, MJX_LS_ITERATIONS
    return model


def _warn_of_few_threads() -> None:
    """Say so if a step could wait for ever.

    A step has several batched Cholesky factorisations. Each (LAPACK in jaxlib, seen with 0.10.2) waits on a thread of
    XLA's CPU backend for work that it has given to the same threads, so that as many at once as there are threads never
    end: on two cores `block_stack` with 64 worlds did not.
    """
    threads = int(os.environ.get("NPROC") or os.cpu_count() or 1)
    if threads < THREADS and jax.default_backend() == "cpu":
        advice = f"start Python with NPROC={THREADS} in its environment, or use physics='mujoco', faster on a CPU"
        warnings.warn(f"MJX may wait for ever on the {threads} threads of this CPU; {advice}", stacklevel=4)


class MjxEngine:
    """MuJoCo in JAX."""

    name = "mjx"

    def __init__(self, model: mujoco.MjModel, substeps: int) -> None:
        # It takes seconds to import, which a run on the C engine need not wait for, and prints that it misses Warp.
        with contextlib.redirect_stdout(io.StringIO()):
            from mujoco import mjx

        _warn_of_few_threads()
        self._mjx: Any = mjx
        self._substeps, self._num_actuators, self._num_mocap = substeps, model.nu, model.nmocap
        self._model = mjx.put_model(with_mjx_solver(model))

    def step(self, state: PhysicsState, control: jax.Array) -> PhysicsState:
        """See `Engine`."""
        mocap = self._num_mocap
        ctrl, pos, quat = jnp.split(control, np.cumsum([self._num_actuators, 3 * mocap]))
        data = self._mjx.make_data(self._model).replace(qpos=state.qpos, qvel=state.qvel, ctrl=ctrl)
        data = data.replace(mocap_pos=pos.reshape(mocap, 3), mocap_quat=quat.reshape(mocap, 4))
        data, _ = jax.lax.scan(
            lambda data, _: (self._mjx.step(self._model, data), None), data, None, length=self._substeps
        )
        return PhysicsState(data.qpos, data.qvel)


class MujocoEngine:
    """C MuJoCo's threaded rollout behind a pure callback: one call for the whole batch, however it was mapped."""

    name = "mujoco"

    def __init__(self, model: mujoco.MjModel, substeps: int) -> None:
        if model.na or model.nplugin:
            raise ValueError("the state of actuators and plugins is not carried; use a model without")
        self._model, self._substeps = model, substeps
        self._size = model.nq + model.nv
        self._data = [mujoco.MjData(model) for _ in range(num_threads())]
        self._buffers: dict[int, _Buffers] = {}

    def step(self, state: PhysicsState, control: jax.Array) -> PhysicsState:
        """See `Engine`."""
        after = jax.pure_callback(
            self._roll_out,
            jax.ShapeDtypeStruct((self._size,), jnp.float32),
            jnp.concatenate([state.qpos, state.qvel]),
            control,
            vmap_method="broadcast_all",
        )
        return PhysicsState(after[: self._model.nq], after[self._model.nq :])

    def _roll_out(self, state: Any, control: Any) -> np.ndarray:
        """On the host, `[..., nq + nv]` and `[..., nu + 7 nmocap]` to `[..., nq + nv]`."""
        state, control = np.asarray(state), np.asarray(control)
        leading = state.shape[:-1]
        with _LOCK:
            buffers = self._buffers_for(int(np.prod(leading)))
            buffers.before[:, 1 : 1 + self._size] = state.reshape(-1, self._size)  # time stays 0
            buffers.control[:] = control.reshape(len(buffers.before), 1, -1)
            _pool().rollout(
                buffers.models,
                self._data,
                buffers.before,
                buffers.control,
                control_spec=_CONTROL,
                skip_checks=True,
                nstep=self._substeps,
                state=buffers.after,
            )
            return buffers.after[:, -1, 1 : 1 + self._size].astype(np.float32).reshape(*leading, self._size)

    def _buffers_for(self, batch: int) -> "_Buffers":
        """Arrays kept between calls: allocating them anew takes longer than a step of a small batch."""
        if batch not in self._buffers:
            state_size = mujoco.mj_stateSize(self._model, mujoco.mjtState.mjSTATE_FULLPHYSICS)
            control_size = mujoco.mj_stateSize(self._model, _CONTROL)
            self._buffers[batch] = _Buffers(
                models=[self._model] * batch,
                before=np.zeros((batch, state_size)),
                control=np.zeros((batch, self._substeps, control_size)),
                after=np.zeros((batch, self._substeps, state_size)),
            )
        return self._buffers[batch]


class _Buffers(NamedTuple):
    """Arguments of a rollout of one batch size."""

    models: list[mujoco.MjModel]
    before: np.ndarray  # float64 [batch, time + nq + nv]
    control: np.ndarray  # float64 [batch, substeps, nu + 7 nmocap]
    after: np.ndarray  # float64 [batch, substeps, time + nq + nv]


def num_threads() -> int:
    """Threads of the C engine: one per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_LOCK = threading.Lock()  # a thread pool serves one rollout at a time


@functools.cache
def _pool() -> mujoco.rollout.Rollout:
    """The thread pool that all engines of the process share."""
    threads = num_threads()
    return mujoco.rollout.Rollout(nthread=threads if threads > 1 else 0)
