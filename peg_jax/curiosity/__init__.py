"""Exploration by episodic curiosity and its baselines; start at `training`, which composes the rest.

config      every number, as pytrees
oracle      coverage: the privileged grid oracle, as bonus and as metric
networks    policy and value
ppo         advantages, losses, schedule
methods     which bonus is added to the task's reward
rollout     collecting experience
training    one update after another, in one scan
evaluation  first episodes of a policy
"""
