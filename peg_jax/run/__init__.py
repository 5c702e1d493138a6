"""Host side of a run: what is kept on disk and shown to the user. Knows nothing of agents or environments.

Import the modules one by one, so that a reader of metrics does not pay for orbax and a trainer without pictures
does not pay for matplotlib:

    session      Session: a process's hold on a run directory, which every trainer shares
    directory    RunDirectory: the layout, the resolved config and where it ran
    lock         RunLock: one process at a time
    signals      SIGTERM and Ctrl-C as a wish that the training loop polls
    checkpoint   CheckpointStore: verified orbax checkpoints of one pytree
    memory       what the device can still take
    metrics      MetricsWriter, read_metrics: metrics.jsonl and TensorBoard
    steplines    files of JSON lines that a resume rolls back
    tensorboard  event files, written in the caller's thread
    media        animations, images, contact sheets
    plots        learning curves, maps of goals and of rollouts
    belief_plots visited states, temporal distance, the model's open-loop predictions
    progress     progress bar, compile timer, table of the state's size
    files        the errors with their exit codes, atomic writes
    config_json  dataclasses to JSON and back
"""
