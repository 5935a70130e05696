"""Measuring methods on the miniature: each module is one experiment with its baselines, run on scenes never trained on."""
