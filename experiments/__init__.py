"""Entry points: the only place that knows environments, agents and the command line together."""

import gc
import sys

from experiments.threads import widen_for_mjx

# Tracing makes millions of objects that stay; looking through them for garbage takes a tenth of a command's start.
gc.set_threshold(200_000, 20, 20)

widen_for_mjx(sys.argv)
