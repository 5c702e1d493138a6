"""What both systems stand on: networks, distributions, returns, replay, optimisers and clocks."""
