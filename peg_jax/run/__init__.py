"""Host side of a run: what is kept on disk and shown to the user. Knows nothing of agents or environments.

Import the modules one by one, so that a reader of metrics does not pay for orbax and a trainer without pictures
does not pay for matplotlib:

    directory    RunDirectory: the layout, the resolved config and where it ran
    checkpoint   CheckpointStore: verified orbax checkpoints of one pytree
    metrics      MetricsWriter, read_metrics: metrics.jsonl and TensorBoard
    media        animations, images, contact sheets
    plots        learning curves, maps of goals and of rollouts
    progress     progress bar, compile timer, table of the state's size
    files        RunError, atomic writes
    config_json  dataclasses to JSON and back
"""
