"""Trains the miniature: renders scenes, then the VAE, the judge, and the diffusion model with its text encoder.

    python tools/train_miniature.py STAGE [STAGE ...] --comfyui PATH --work FOLDER

Stages: scenes, vae, latents, decoder, judge, diffusion, export. Every stage is deterministic by its seed, writes a log
beside its checkpoint and goes on from there when started again. Batches are drawn from a generator seeded by the step,
so that a resumed run sees what an unbroken one would have seen.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from pack import load_host, load_pack
from torch import nn

# --- what every stage shares ------------------------------------------------------------------------------------------


class Trainer:
    """Low-precision weights trained through float32 masters, with Adam, EMA, warm-up and a linear final decay.

    `checkpoint` holds masters, averages, optimiser state and the step; `log` gets a line of JSON now and then.
    """

    def __init__(self, modules: dict[str, nn.Module], *, rate: float, steps: int, average: float, checkpoint: Path, cool=0.35):
        self.parameters = {f"{key}.{name}": p for key, m in modules.items() for name, p in m.named_parameters() if p.requires_grad}
        self.masters = {name: p.detach().float().clone() for name, p in self.parameters.items()}
        self.averages = {name: p.clone() for name, p in self.masters.items()}
        self.optimiser = torch.optim.AdamW(list(self.masters.values()), lr=rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
        self.rate, self.steps, self.average, self.cool, self.checkpoint = rate, steps, average, cool, checkpoint
        self.step, self.losses, self.started = 0, [], time.time()
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True)
            self.step = state["step"]
            self.optimiser.load_state_dict(state["optimiser"])
            for name in self.masters:
                self.masters[name].copy_(state["masters"][name])
                self.averages[name].copy_(state["averages"][name])
        self._publish(self.masters)

    def _publish(self, values: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            torch._foreach_copy_(list(self.parameters.values()), list(values.values()))

    def update(self, loss: torch.Tensor) -> None:
        """One optimiser step on `loss`."""
        loss.backward()
        for name, parameter in self.parameters.items():
            self.masters[name].grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        norm = nn.utils.clip_grad_norm_(list(self.masters.values()), 1.0)
        warm = min(1.0, (self.step + 1) / 200)
        left = (self.steps - self.step) / (self.steps * self.cool)
        self.optimiser.param_groups[0]["lr"] = self.rate * warm * min(1.0, max(left, 0.01))
        self.optimiser.step()
        self.step += 1
        weight = 1 - min(self.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.averages.values()), list(self.masters.values()), weight)
        self._publish(self.masters)
        self.losses.append(loss.item())
        if self.step % 50 == 0:
            self.note(loss=sum(self.losses) / len(self.losses), norm=norm.item())
            self.losses = []
        if self.step % 100 == 0 or self.step >= self.steps:
            self.save()

    def note(self, **values: float) -> None:
        line = {"step": self.step, "seconds": round(time.time() - self.started, 1)} | {k: float(f"{v:.5g}") for k, v in values.items()}
        print(json.dumps(line), flush=True)
        with self.checkpoint.with_suffix(".log").open("a") as log:
            log.write(json.dumps(line) + "\n")

    def save(self) -> None:
        state = {"step": self.step, "masters": self.masters, "averages": self.averages, "optimiser": self.optimiser.state_dict()}
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def use_averages(self) -> None:
        self._publish(self.averages)

    @property
    def unfinished(self) -> bool:
        return self.step < self.steps


def batch_indices(stage: str, step: int, count: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(hash_of(stage) * 1_000_003 + step)
    return torch.randint(count, (size,), generator=generator)


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode()[:4], "little") % 9973


def initialise(module: nn.Module) -> nn.Module:
    """ComfyUI's layers leave their weights uninitialised; this gives them torch's initialisation."""
    for layer in module.modules():
        for kind in (nn.Conv2d, nn.Linear, nn.GroupNorm, nn.LayerNorm):
            if isinstance(layer, kind):
                kind.reset_parameters(layer)
    return module


# --- stages -----------------------------------------------------------------------------------------------------------


def scenes(work: Path, count: int) -> None:
    """Renders `count` scenes: pictures, object labels (0 none, 1, 2) and the scenes themselves."""
    import pickle
    from concurrent.futures import ProcessPoolExecutor

    if (work / "scenes.pkl").exists():
        return
    shards = max(1, count // 500)
    with ProcessPoolExecutor() as pool:
        parts = list(pool.map(_render_shard, range(shards), [count // shards] * shards))
    np.save(work / "pictures.npy", np.concatenate([part[0] for part in parts]))
    np.save(work / "labels.npy", np.concatenate([part[1] for part in parts]))
    (work / "scenes.pkl").write_bytes(pickle.dumps([scene for part in parts for scene in part[2]]))


def _render_shard(shard: int, count: int):
    from graft.miniature import drawing, world

    torch.set_num_threads(1)
    rng = np.random.default_rng([20, shard])
    drawn = [world.sample_scene(rng) for _ in range(count)]
    pictures, labels = np.empty((count, 64, 64, 3), np.uint8), np.zeros((count, 64, 64), np.uint8)
    for index, scene in enumerate(drawn):
        rendering = drawing.render(scene)
        pictures[index] = np.round(rendering.picture * 255)
        for number, mask in enumerate(rendering.objects, start=1):
            labels[index][mask > 0.5] = number
    return pictures, labels, drawn


def load_pictures(work: Path) -> torch.Tensor:
    """(N, 3, 64, 64) uint8."""
    return torch.from_numpy(np.load(work / "pictures.npy")).permute(0, 3, 1, 2)


def as_input(pictures: torch.Tensor) -> torch.Tensor:
    return pictures.contiguous().float() / 127.5 - 1


def build_vae() -> nn.Module:
    from comfy.ldm.models.autoencoder import AutoencoderKL
    from graft.miniature.network import VAE

    return initialise(AutoencoderKL(**VAE))


def vae(work: Path, steps: int, size: int = 8, rate: float = 1.5e-3) -> None:
    """Encoder and decoder together: squared error with a little L1, latents kept near unit deviation and decoded
    from slightly noisy copies, so that edits of latents decode gracefully."""
    torch.manual_seed(1)
    model = build_vae().to(torch.bfloat16)
    trainer = Trainer({"vae": model}, rate=rate, steps=steps, average=0.995, checkpoint=work / "vae.pt")
    pictures = load_pictures(work)
    held_out, pictures = pictures[:256], pictures[256:]
    while trainer.unfinished:
        x = as_input(pictures[batch_indices("vae", trainer.step, len(pictures), size)])
        mean, spread = model.quant_conv(model.encoder(x.bfloat16())).chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(trainer.step))
        decoded = model.decode((mean.float() + 0.03 * noise).bfloat16()).float()
        drift = mean.float().square().mean() - 1
        loss = (
            (decoded - x).square().mean() * 10 + (decoded - x).abs().mean() + 1e-3 * drift.square() + 1e-4 * spread.float().square().mean()
        )
        trainer.update(loss)
        if trainer.step % 250 == 0:
            trainer.note(psnr=round_trip_psnr(model, held_out))
    trainer.use_averages()
    trainer.note(averaged_psnr=round_trip_psnr(model, held_out))


@torch.no_grad()
def round_trip_psnr(model: nn.Module, pictures: torch.Tensor) -> float:
    """Mean over pictures of the PSNR (dB, peak 1) of encode-decode."""
    dtype = next(model.parameters()).dtype
    values = []
    for part in pictures.split(32):
        x = as_input(part)
        y = model.decode(model.encode(x.to(dtype))).float().clamp(-1, 1)
        values.append(-10 * ((y - x) / 2).square().mean(dim=(1, 2, 3)).log10())
    return torch.cat(values).mean().item()


def latents(work: Path) -> None:
    """Folds the latents' mean and deviation into the VAE's 1x1 convolutions, and encodes every picture."""
    model = build_vae()
    trained = torch.load(work / "vae.pt", weights_only=True)["averages"]
    model.load_state_dict({name: trained[f"vae.{name}"] for name in model.state_dict()})
    pictures = load_pictures(work)
    sample = encode(model, pictures[:4096])
    mean, deviation = sample.mean(dim=(0, 2, 3)), sample.std(dim=(0, 2, 3))
    normalise(model, mean, deviation)
    torch.save(model.state_dict(), work / "vae_normalised.pt")
    np.save(work / "latents.npy", encode(model.to(torch.bfloat16), pictures).half().numpy())
    print(json.dumps({"mean": mean.tolist(), "deviation": deviation.tolist()}))


@torch.no_grad()
def normalise(model: nn.Module, mean: torch.Tensor, deviation: torch.Tensor) -> None:
    """Afterwards the encoder's posterior mean has zero mean and unit deviation, and decoding undoes that."""
    count = len(mean)
    model.quant_conv.bias[:count] -= mean
    model.quant_conv.bias[:count] /= deviation
    model.quant_conv.weight[:count] /= deviation[:, None, None, None]
    model.post_quant_conv.bias += (model.post_quant_conv.weight[:, :, 0, 0] * mean).sum(dim=1)
    model.post_quant_conv.weight *= deviation[None, :, None, None]


@torch.no_grad()
def encode(model: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) uint8 -> posterior means (N, C, h, w), float32."""
    dtype = next(model.parameters()).dtype
    return torch.cat([model.encode(as_input(part).to(dtype)).float() for part in pictures.split(64)])


class Tokens:
    """Prompts as CLIP token rows (77), and their words numbered densely: only words of the world get an embedding."""

    def __init__(self) -> None:
        from comfy.sd1_clip import SDTokenizer

        self.tokenizer, self.rows = SDTokenizer(embedding_size=128), {}
        vocabulary = (
            "a an photo drawing of and nothing on at grass sand snow night striped ball cube cone star red orange yellow green blue purple"
        )
        used = {token for token, _ in self.tokenizer.tokenize_with_weights(vocabulary)[0]}
        self.known = torch.tensor(sorted(used))
        self.position = {int(token): index for index, token in enumerate(self.known)}

    def __call__(self, prompts: list[str]) -> torch.Tensor:
        """(B, 77) positions in `known`."""
        for prompt in prompts:
            if prompt not in self.rows:
                row = [self.position[token] for token, _ in self.tokenizer.tokenize_with_weights(prompt)[0]]
                self.rows[prompt] = torch.tensor(row)
        return torch.stack([self.rows[prompt] for prompt in prompts])


class TextEncoder(nn.Module):
    """ComfyUI's CLIP layers with a small embedding table, run without its in-place sums, which autograd refuses."""

    def __init__(self, words: int) -> None:
        super().__init__()
        from comfy.clip_model import CLIPEncoder
        from comfy.ops import disable_weight_init
        from graft.miniature.network import TEXT

        width = TEXT["hidden_size"]
        sizes = (TEXT["num_hidden_layers"], width, TEXT["num_attention_heads"], TEXT["intermediate_size"], TEXT["hidden_act"])
        self.token_embedding = nn.Embedding(words, width)
        self.position_embedding = nn.Embedding(TEXT["max_position_embeddings"], width)
        self.encoder = initialise(CLIPEncoder(*sizes, torch.float32, "cpu", disable_weight_init))
        self.final_layer_norm = nn.LayerNorm(width)
        nn.init.normal_(self.token_embedding.weight, std=0.5)
        nn.init.normal_(self.position_embedding.weight, std=0.1)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        x = self.token_embedding(rows) + self.position_embedding.weight
        mask = torch.full((rows.shape[1],) * 2, float("-inf"), dtype=x.dtype, device=x.device).triu_(1)
        for layer in self.encoder.layers:
            x = x + layer.self_attn(layer.layer_norm1(x), mask, plain_attention)
            x = x + layer.mlp(layer.layer_norm2(x))
        return self.final_layer_norm(x)


def plain_attention(q, k, v, heads, mask=None, **_):
    """Softmax attention in the operands' own precision: on CPUs its backward pass is several times faster than the
    fused kernel's at these sizes. (B, N, H*D) each."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    scores = q @ (k * k.shape[-1] ** -0.5).transpose(-1, -2)
    return ((scores if mask is None else scores + mask).softmax(-1) @ v).transpose(1, 2).flatten(-2)


def build_unet() -> nn.Module:
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.ops import disable_weight_init
    from graft.miniature.network import UNET

    model = initialise(UNetModel(**UNET, dtype=torch.float32, operations=disable_weight_init))
    for name, parameter in model.named_parameters():
        if name.endswith(("out_layers.3.weight", "out_layers.3.bias", "proj_out.weight", "proj_out.bias")) or name.startswith("out.2"):
            nn.init.zeros_(parameter)
    return model


def alphas_cumprod() -> torch.Tensor:
    """Stable Diffusion's schedule, (1000,)."""
    return torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, dim=0).float()


def diffusion(work: Path, steps: int = 16_000, size: int = 32, rate: float = 8e-4) -> None:
    """UNet and text encoder on the cached latents: eps-prediction, SD's schedule, one prompt in eight dropped."""
    import pickle

    from graft.miniature.network import LATENT_SCALE
    from graft.miniature.world import prompt_of, sample_wording

    torch.manual_seed(3)
    tokens = Tokens()
    modules = {"unet": build_unet().to(torch.bfloat16), "text": TextEncoder(len(tokens.known)).to(torch.bfloat16)}
    trainer = Trainer(modules, rate=rate, steps=steps, average=0.999, checkpoint=work / "diffusion.pt")
    encoded, drawn = torch.from_numpy(np.load(work / "latents.npy")), pickle.loads((work / "scenes.pkl").read_bytes())
    schedule = alphas_cumprod()
    attention = {"optimized_attention_override": lambda _, *operands, **options: plain_attention(*operands, **options)}
    while trainer.unfinished:
        chosen = batch_indices("diffusion", trainer.step, len(encoded), size)
        rng = np.random.default_rng(trainer.step)
        prompts = ["" if rng.random() < 0.125 else prompt_of(drawn[i], sample_wording(rng)) for i in chosen]
        strata = (torch.from_numpy(rng.permutation(size)) + torch.from_numpy(rng.random(size))) / size
        timesteps = (strata * 1000).long()
        level = schedule[timesteps][:, None, None, None]
        noise = torch.from_numpy(rng.standard_normal((size, *encoded.shape[1:]), dtype=np.float32))
        noisy = level.sqrt() * encoded[chosen].float() * LATENT_SCALE + (1 - level).sqrt() * noise
        context = modules["text"](tokens(prompts))
        predicted = modules["unet"](noisy.bfloat16(), timesteps.float(), context=context, transformer_options=attention)
        trainer.update((predicted.float() - noise).square().mean())


def decoder(work: Path, steps: int = 2000, size: int = 8, rate: float = 1e-3) -> None:
    """The decoder alone, a little longer: the latents, and so the diffusion model, stay as they are."""
    torch.manual_seed(4)
    model = build_vae()
    model.load_state_dict(torch.load(work / "vae_normalised.pt", weights_only=True))
    model = model.to(torch.bfloat16)
    parts = {"decoder": model.decoder, "post_quant_conv": model.post_quant_conv}
    trainer = Trainer(parts, rate=rate, steps=steps, average=0.995, checkpoint=work / "decoder.pt")
    pictures, encoded = load_pictures(work), torch.from_numpy(np.load(work / "latents.npy"))
    while trainer.unfinished:
        chosen = batch_indices("decoder", trainer.step, len(pictures) - 256, size) + 256
        noise = torch.randn((size, *encoded.shape[1:]), generator=torch.Generator().manual_seed(trainer.step))
        decoded = model.decode((encoded[chosen].float() + 0.03 * noise).bfloat16()).float()
        difference = decoded - as_input(pictures[chosen])
        trainer.update(difference.square().mean() * 10 + difference.abs().mean() * 0.5)
        if trainer.step % 250 == 0:
            trainer.note(psnr=round_trip_psnr(model, pictures[:256]))
    trainer.use_averages()
    trainer.note(averaged_psnr=round_trip_psnr(model, pictures[:256]))


def judge(work: Path, steps: int = 2500, size: int = 24, rate: float = 2e-3) -> None:
    """The judge, on pictures jittered in brightness, blur and noise, so that it reads generated pictures too."""
    import pickle

    from graft.miniature.judge import PICTURE_HEADS, Judge
    from graft.miniature.world import COLOURS, GROUNDS, PATTERNS, SHAPES, STYLES
    from torch.nn import functional

    torch.manual_seed(5)
    model = Judge().to(torch.bfloat16)
    trainer = Trainer({"judge": model}, rate=rate, steps=steps, average=0.995, checkpoint=work / "judge.pt")
    pictures, labels = load_pictures(work), torch.from_numpy(np.load(work / "labels.npy"))
    drawn = pickle.loads((work / "scenes.pkl").read_bytes())
    names = {"shape": SHAPES, "colour": COLOURS, "pattern": PATTERNS, "ground": GROUNDS, "style": STYLES}
    while trainer.unfinished:
        chosen = batch_indices("judge", trainer.step, len(pictures), size)
        rng = torch.Generator().manual_seed(trainer.step)
        x = pictures[chosen].contiguous().float() / 255
        gain, lift, grain = (torch.rand(3, size, 1, 1, 1, generator=rng) - 0.5).unbind()
        x = x * (1 + 0.16 * gain) + 0.06 * lift + 0.06 * (grain + 0.5) * torch.randn(x.shape, generator=rng)
        if trainer.step % 2:
            x = functional.avg_pool2d(functional.pad(x, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
        logits = {name: value.float() for name, value in model(x.bfloat16()).items()}
        label = labels[chosen].long()
        loss = functional.binary_cross_entropy_with_logits(logits["object"][:, 0], (label > 0).float())
        for head in ("shape", "colour", "pattern"):
            of_thing = [[-1] + [names[head].index(getattr(thing, head)) for thing in drawn[i].things] for i in chosen]
            table = torch.tensor([row + [-1] * (3 - len(row)) for row in of_thing])
            target = table.gather(1, label.flatten(1)).view_as(label)
            loss = loss + functional.cross_entropy(logits[head], target, ignore_index=-1)
        for head in PICTURE_HEADS:
            target = torch.tensor([names[head].index(getattr(drawn[i], head)) for i in chosen])
            loss = loss + functional.cross_entropy(logits[head], target)
        trainer.update(loss)


def export(work: Path) -> None:
    """Gathers the averaged weights of every stage in miniature/weights.safetensors, float16."""
    from safetensors.torch import save_file

    def averages(stage: str) -> dict[str, torch.Tensor]:
        return torch.load(work / f"{stage}.pt", weights_only=True)["averages"]

    tensors = {_text_name(name): value for name, value in averages("diffusion").items()} | {"text.known": Tokens().known}
    autoencoder = torch.load(work / "vae_normalised.pt", weights_only=True)
    if (work / "decoder.pt").exists():
        autoencoder |= averages("decoder")
    tensors |= {f"vae.{name}": value for name, value in autoencoder.items()}
    if (work / "judge.pt").exists():
        tensors |= averages("judge")
    tensors |= preview_factors(work)
    halves = {name: value.half() if value.is_floating_point() else value.to(torch.int32) for name, value in tensors.items()}
    target = Path(__file__).resolve().parent.parent / "miniature" / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in halves.items()}, target.with_suffix(".partial"))
    target.with_suffix(".partial").replace(target)
    print(f"{target.name}: {target.stat().st_size / 2**20:.1f} MiB")


def _text_name(name: str) -> str:
    """The name that ComfyUI's CLIP model has for a parameter of `TextEncoder`; other names as they are."""
    if not name.startswith("text."):
        return name
    inner = name.removeprefix("text.").removesuffix(".weight") if "embedding" in name else name.removeprefix("text.")
    return f"text.text_model.{f'embeddings.{inner}.weight' if 'embedding' in name else inner}"


def preview_factors(work: Path) -> dict[str, torch.Tensor]:
    """The linear map from scaled latents to colours in [-1, 1] that fits best: ComfyUI's latent preview."""
    from graft.miniature.network import LATENT_SCALE

    encoded = torch.from_numpy(np.load(work / "latents.npy", mmap_mode="r")[:512].copy()).float() * LATENT_SCALE
    colours = nn.functional.avg_pool2d(as_input(load_pictures(work)[:512]), 4)
    inputs = encoded.permute(0, 2, 3, 1).flatten(0, 2)
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    factors = torch.linalg.lstsq(inputs, colours.permute(0, 2, 3, 1).flatten(0, 2)).solution
    return {"preview.factors": factors[:-1], "preview.bias": factors[-1]}


def main() -> None:
    stages = {
        "scenes": scenes,
        "vae": vae,
        "latents": latents,
        "diffusion": diffusion,
        "decoder": decoder,
        "judge": judge,
        "export": export,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=stages)
    parser.add_argument("--comfyui", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40_000, help="scenes rendered for training")
    parser.add_argument("--steps", type=int, help="steps of the chosen training stage")
    arguments = parser.parse_args()
    load_host(arguments.comfyui)
    load_pack()
    arguments.work.mkdir(parents=True, exist_ok=True)
    for stage in arguments.stages:
        if stage == "scenes":
            scenes(arguments.work, arguments.count)
        elif stage in ("latents", "export"):
            stages[stage](arguments.work)
        else:
            stages[stage](arguments.work, **({"steps": arguments.steps} if arguments.steps else {}))


if __name__ == "__main__":
    main()
