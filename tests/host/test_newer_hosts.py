"""Stand-ins for what newer hosts do otherwise than the pinned one: a layer's preferred attention, and inputs in containers."""

from __future__ import annotations

from functools import partial

import comfy.ldm.modules.attention as host_attention
import pytest
import torch
from graft.host.edits.key_value_mask import MaskKeysAndValues
from graft.host.engine.plan import Plan
from graft.host.engine.run import carry_out
from graft.host.engine.windows import Window
from graft.host.families import unet
from graft.host.families.layers import all_layers, require_unet
from graft.host.families.transformer import Override
from tiny_models import make_model, noise, prompt, sample, schedule
from written_out import maps, predict, require_close

PREFERRED = "a stand-in for 0.37, whose layers prefer kernels"
TARGET, NEGATIVE = prompt(2), prompt(3)
BOX = torch.zeros(1, 128, 128)
BOX[:, 20:90, 30:100] = 1


class Preferred(torch.nn.Module):
    """What a checkpoint of 0.37 brings for a layer: a kernel of its own; here one that is easily told from the host's."""

    def function(self, query, key, value, *arguments, **options):
        return host_attention.attention_basic(2 * query, key, value, *arguments, **options)


@pytest.fixture
def with_preferred_attention(monkeypatch):
    """A tiny SD1 whose layers prefer a kernel, on a host that passes the preference on as 0.37 does."""
    plain = host_attention.optimized_attention

    def optimized(query, key, value, *arguments, preferred_attention=None, **options):
        function = plain if preferred_attention is None else preferred_attention.function
        return function(query, key, value, *arguments, **options)

    def forward(self, x, context=None, value=None, mask=None, transformer_options=None):
        context = x if context is None else context
        query, key, value = self.to_q(x), self.to_k(context), self.to_v(context if value is None else value)
        options = {"attn_precision": self.attn_precision, "transformer_options": transformer_options or {}}
        return self.to_out(optimized(query, key, value, self.heads, preferred_attention=self.comfy_attention, **options))

    monkeypatch.setattr(host_attention.CrossAttention, "forward", forward)
    monkeypatch.setattr(unet, "optimized_attention", optimized)
    model = make_model("sd1")
    for module in model.model.diffusion_model.modules():
        if isinstance(module, host_attention.CrossAttention):
            module.comfy_attention = Preferred()
    return model


def hiding(model, layers=None):
    """An edit that computes self-attention."""
    return carry_out(
        model, Plan((MaskKeysAndValues(BOX, Window(1e10, -1.0), all_layers(require_unet(model)) if layers is None else layers),))
    )


def test_layers_beside_an_edit_attend_as_they_prefer(with_preferred_attention, gave):
    """The edit stands on no layer of this network, so every layer is reached and none is changed."""
    model = with_preferred_attention
    edited = sample(hiding(model, frozenset()), TARGET, NEGATIVE, steps=2)
    assert edited.equal(sample(model, TARGET, NEGATIVE, steps=2))
    gave("Hosts", PREFERRED, "layers beside an edit", "", "works")


def test_an_edited_layer_attends_as_it_prefers(with_preferred_attention, gave):
    """Oracle: the prediction with masked maps written out, of doubled queries as the stand-in has them."""
    model = with_preferred_attention
    sigmas = schedule(model, 5)[:2]
    x = noise(0) * sigmas[0]

    def masked_maps(site, query, key, value):
        hidden = torch.nn.functional.adaptive_avg_pool2d(BOX[:, None].double(), site.grid).flatten(2) > 0.1
        bias = torch.zeros_like(hidden, dtype=torch.double).masked_fill(hidden & ~hidden.all(), float("-inf"))
        return maps(2 * query, key, bias[:, :, None]) @ value

    denoised = predict(model, x, sigmas[0], TARGET, attn1=masked_maps)
    expected = model.model.process_latent_out(x + (sigmas[1] - sigmas[0]) * (x - denoised) / sigmas[0])
    step = partial(sample, positive=TARGET, sigmas=sigmas, cfg=1.0)
    require_close(step(hiding(model)), expected, step(model))
    gave("Hosts", PREFERRED, "edited layers", "", "works")


def test_an_override_is_given_plain_tensors():
    """Since 0.33 inputs may come in containers, which the host opens for an override that does not say it takes them."""
    assert not hasattr(Override, "container_function")
