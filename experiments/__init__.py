"""Entry points: the only place that knows environments, agents and the command line together."""

import gc

# Tracing makes millions of objects that stay; looking through them for garbage takes a tenth of a command's start.
gc.set_threshold(200_000, 20, 20)
