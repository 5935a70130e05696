"""Graft's own samplers and inverter, the Asymmetric Sampler, and the latent optimiser with its losses."""
