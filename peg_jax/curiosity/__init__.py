"""Exploration by episodic curiosity and its baselines; start at `training`, which composes the rest.

config               every number of PPO, as pytrees
oracle               coverage: the privileged grid oracle, as bonus and as metric
networks             policy and value
ppo                  advantages, losses, schedule
intrinsic            the contract between PPO and a bonus
icm                  intrinsic curiosity, a bonus
methods              which bonus is added to the task's reward
reachability         EC and ECO as such a bonus
rollout              collecting experience
training             one update after another, in one scan
evaluation           first episodes of a policy
reachability_config  every number of the reachability network, the memory and the bonus
r_network            whether two observations are few steps apart
pairs                what it learns from
history              past observations, for training it online
r_training           its training, before or beside the policy's
offline              random walks, and the network trained and judged on them
memory               what an episode has seen
bonus                what is paid for seeing more
"""
