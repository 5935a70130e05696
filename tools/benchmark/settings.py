"""What both sides of the comparison are told: the defaults of the nodes, which are the papers'; FreeCompose's removal in fewer iterations."""

from __future__ import annotations

from graft.host.samplers.asymmetric_sampler import Intervals
from graft.host.samplers.latent_optimization import Optimization
from graft.optimization.descent import Descent

GUIDANCE = 7.5
LAYOUT, CROSS = 0.8, 0.8
REFERENCE_FROM, MASK_THRESHOLD, BLEND_FROM, BLEND_THRESHOLD = 0.08, 0.3, 0.2, 0.3
TAU_A, TAU_B, COMPOSED_GUIDANCE = 0.4, 0.8, 5.0
REMOVAL = Optimization(iterations=5, guidance=GUIDANCE, descent=Descent("sgd", 0.1), outside=0.2)
HIDDEN_FROM, COVERED = 2, 0.1
GAMMA, INJECTING = 0.6, Intervals(boost=0)
SEED = 3
