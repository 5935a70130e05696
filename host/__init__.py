"""The only folder that imports ComfyUI: streams and taps, windows and layers, samplers, fingerprints, the miniature."""
