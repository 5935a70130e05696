"""Changing a latent step by step instead of sampling it: Delta Denoising Score, perceptual losses, the descent.

Gradients are computed by hand or through small feature networks, never through the diffusion model. torch only.
"""
