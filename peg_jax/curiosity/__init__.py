"""Exploration by episodic curiosity and its baselines; start at `training`, which composes the rest.

config               every number of PPO, as pytrees
oracle               coverage: the privileged grid oracle, as bonus and as metric
networks             policy and value
ppo                  advantages, losses, schedule
icm                  intrinsic curiosity, a bonus
methods              which bonus is added to the task's reward
rollout              collecting experience
training             one update after another, in one scan
evaluation           first episodes of a policy
reachability_config  every number of the reachability network, the memory and the bonus
r_network            whether two observations are few steps apart
pairs                what it learns from
history              past observations, for training it online
r_training           its training, before or beside the policy's
memory               what an episode has seen
bonus                what is paid for seeing more
"""
