"""The contract that edits and samplers are written to, and what carries it out: plan, run, streams, windows, noise levels,
fingerprints."""
