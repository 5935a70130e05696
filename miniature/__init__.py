"""The embedded model: a procedurally drawn world, the networks trained on it, their weights.

Nothing here imports ComfyUI; `host/models/miniature.py` turns it into MODEL, CLIP and VAE.
"""
