"""The embedded model: a procedurally drawn world, the networks trained on it, their weights.

Nothing here imports ComfyUI; `host/miniature.py` turns it into MODEL, CLIP and VAE.
"""
