"""Getting ComfyUI and its packages, starting and serving it, and loading the pack beside it."""
