"""Agents that choose their own goals: PEG and its baselines as pure JAX functions."""
