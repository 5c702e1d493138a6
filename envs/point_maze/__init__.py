"""Point Maze: a point that finds its way through a fixed 10 x 10 maze."""

from envs.point_maze.env import EnvParams, EnvState, PointMaze
from envs.point_maze.maze import move, route_length

__all__ = ["EnvParams", "EnvState", "PointMaze", "move", "route_length"]
