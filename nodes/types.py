"""Link types and inputs that several families share."""

from comfy_api.latest import io

TrajectoryType = io.Custom("GRAFT_TRAJECTORY")

SOLVERS = {"DDIM": "ddim", "DPM-Solver++ 2M": "dpmpp_2m"}
"""Names of the solvers in the UI."""


def window_inputs(end: float) -> list:
    """Start and end percent of an edit, as ComfyUI counts them."""
    tip = "0 is the noisiest step, 1 the finished picture."
    return [
        io.Float.Input("start_percent", default=0.0, min=0.0, max=1.0, step=0.01, tooltip=f"When the edit starts. {tip}", advanced=True),
        io.Float.Input("end_percent", default=end, min=0.0, max=1.0, step=0.01, tooltip=f"When the edit stops. {tip}"),
    ]
