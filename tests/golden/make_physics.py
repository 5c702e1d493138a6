"""Figures of the published models, for tests: `python tests/golden/make_physics.py SITE_PACKAGES OUTPUT`.

SITE_PACKAGES holds dm_control and gymnasium_robotics, which nothing else here needs; their wheels, unpacked, will do:
`pip download --no-deps dm_control==1.0.50 gymnasium-robotics==1.4.2`.
"""

import json
import sys
from pathlib import Path

import mujoco
import numpy as np

SUBSTEPS = 20
REACH = 0.05
# Action (x, y, z, fingers) of each of 40 agent steps: 20 of the first, then 20 of the second.
RESPONSES = {
    "still": ((0, 0, 0, -1), (0, 0, 0, -1)),
    "up": ((0, 0, 0.05, -1), (0, 0, 0, -1)),
    "across": ((0, 0.1, 0, -1), (0, -0.1, 0, -1)),
    "forth": ((-0.04, 0, 0, -1), (0.04, 0, 0, -1)),
    "fingers": ((0, 0, 0, 1), (0, 0, 0, -1)),
}


def walker(packages: Path) -> dict[str, object]:
    """What the suite's walker consists of."""
    model = mujoco.MjModel.from_xml_path(str(packages / "dm_control/suite/walker.xml"))
    figures: dict[str, object] = {"timestep": model.opt.timestep, "iterations": model.opt.iterations}
    for name in (
        *("body_mass", "body_inertia", "body_ipos", "body_iquat", "body_pos", "dof_armature", "dof_damping"),
        *("jnt_range", "jnt_axis", "jnt_pos", "jnt_solimp", "jnt_solref", "actuator_gear", "actuator_ctrlrange"),
        *(
            "geom_size",
            "geom_friction",
            "geom_contype",
            "geom_conaffinity",
            "geom_solref",
            "geom_solimp",
            "geom_margin",
        ),
    ):
        figures[name] = np.round(getattr(model, name), 9).tolist()
    figures["geom_size"] = np.round(model.geom_size[1:], 9).tolist()  # the floor's is for the eye only
    return figures


def fetch(packages: Path) -> dict[str, list]:
    """Gripper's site and a finger after each agent step, `[40, 4]`, from rest above the table."""
    path = packages / "gymnasium_robotics/envs/assets/fetch/pick_and_place.xml"
    model = mujoco.MjModel.from_xml_path(str(path))
    model.eq_data[:, :11] = (0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1)  # the weld holds the gripper at the mocap body
    responses = {}
    for name, (first, second) in RESPONSES.items():
        data = rest(model)
        rows = []
        for action in np.repeat(np.array([first, second], float), 20, axis=0):
            data.mocap_pos[0] = data.body("robot0:gripper_link").xpos + REACH * action[:3]
            fingers = [model.jnt_qposadr[joint] for joint in model.actuator_trnid[:, 0]]
            data.ctrl[:] = data.qpos[fingers] + action[3]
            mujoco.mj_step(model, data, SUBSTEPS)
            mujoco.mj_kinematics(model, data)
            finger = data.joint("robot0:r_gripper_finger_joint").qpos[0]
            rows.append([*data.site("robot0:grip").xpos, finger])
        responses[name] = np.round(rows, 5).tolist()
    return responses


def rest(model: mujoco.MjModel) -> mujoco.MjData:
    """The arm at rest with the gripper where episodes start."""
    data = mujoco.MjData(model)
    data.joint("robot0:slide0").qpos = 0.405
    data.joint("robot0:slide1").qpos = 0.48
    data.joint("object0:joint").qpos[:3] = 1.33, 0.65, 0.425
    data.mocap_pos[0], data.mocap_quat[0] = (1.34193, 0.7491, 0.55472), (1, 0, 1, 0)
    mujoco.mj_step(model, data, 3000)
    return data


if __name__ == "__main__":
    packages, output = Path(sys.argv[1]), Path(sys.argv[2])
    (output / "dm_control_walker.json").write_text(json.dumps(walker(packages)) + "\n")
    (output / "fetch_response.json").write_text(json.dumps(fetch(packages)) + "\n")
