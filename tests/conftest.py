"""What every test process is set to before JAX starts: nearly all of the suite's time is tracing and compiling."""

import gc
import os

gc.set_threshold(200_000, 20, 20)
# Programs of seconds need no optimised machine code, and the older emitters compile them in half the time.
# A flag set from outside stays as it is.
FLAGS = "--xla_backend_optimization_level=0 --xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters"
os.environ["XLA_FLAGS"] = f"{FLAGS} {os.environ.get('XLA_FLAGS', '')}"
