"""What is loaded: the miniature, pixel-space diffusion, VGG."""
