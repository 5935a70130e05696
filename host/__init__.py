"""The only folder that imports ComfyUI: a room per matter, imports one way from inspection, samplers
and edits over the engine to families and models."""
