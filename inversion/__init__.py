"""Solvers of the probability-flow ODE in both directions, and the trajectories they leave behind. torch only."""
