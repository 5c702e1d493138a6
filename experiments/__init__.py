"""Entry points: the only place that knows environments, agents and the command line together."""
