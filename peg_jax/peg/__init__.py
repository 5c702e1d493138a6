"""Planning Exploratory Goals (ICLR 2023) as pure functions."""
