"""What every test process is set to before JAX starts: nearly all of the suite's time is tracing and compiling."""

import gc
import os

gc.set_threshold(200_000, 20, 20)
# Programs of seconds need no optimised machine code; a flag set from outside stays as it is.
os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level=0 {os.environ.get('XLA_FLAGS', '')}"
