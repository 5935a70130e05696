"""Blueprints: each task of an artist's as one node, with the method's whole pipeline inside.

Outside are model, pictures, prompts and the few knobs that matter; the rest has the method's own settings. They run on a checkpoint's
MODEL, CLIP and VAE as on the miniature's.
"""

from __future__ import annotations

from graph import Choice, Output, Place, Subgraph

from . import (
    Fitted,
    Model,
    encode,
    fit,
    free_prompt_editing,
    freecompose,
    invert,
    keep,
    prompt_to_prompt,
    sample,
    specref,
    steps_of,
    tf_icon,
)

CATEGORY = "Graft"
SIDE = 512
SOFT_EDGE = 8
GLOW = 0xFF5A00


def blueprints() -> list[Subgraph]:
    return [
        remove_object(),
        edit_by_prompt(),
        edit_any(),
        swap_word(),
        place_object(),
        harmonise(),
        edit_with_reference(),
        mix(),
        find_unnatural(),
    ]


def remove_object(polish: int | None = None) -> Subgraph:
    """`polish` is how many iterations come after, for what is finest."""
    task = Subgraph(
        "Remove Object",
        "Removes an object from a picture; what was behind it is painted anew. Paint the mask over the object and its shadow. "
        "FreeCompose, with an SD1.x, SD2.x or SDXL model.",
        category=CATEGORY,
    )
    model = _model(task)
    picture, mask = task.input("picture", kind="IMAGE"), task.input("mask", kind="MASK")
    with task.group("1 Prompts and picture"):
        shows, without = _line(task, "what_it_shows", "a dog on a lawn"), _line(task, "without_the_object", "a lawn")
        fitted = _fit(task, picture, mask=mask)
        region = task.add("GrowMask", mask=fitted.mask, expand=task.input("grow_mask", 8))[0]
    with task.group("2 Remove"):
        prompts = freecompose.Prompts(
            source=freecompose.prompt(task, model, "What it shows", shows),
            target=freecompose.prompt(task, model, "Without the object", without),
            negative=freecompose.prompt(task, model, "Negative prompt", ""),
        )
        latent = freecompose.optimize(
            task,
            model,
            freecompose.encode_picture(task, model, fitted.picture),
            prompts,
            Choice(
                "removal",
                mask=region,
                iterations=task.input("iterations", 150),
                **({} if polish is None else {"polish_iterations": polish}),
            ),
            freecompose.keep_look(task, model),
            guidance=task.input("guidance"),
            optimizer=task.input("optimizer"),
            learning_rate=task.input("learning_rate"),
            seed=task.input("seed"),
        )
        removed = freecompose.decode(task, model, latent)
    with task.group("3 Keep the rest"):
        task.output("picture", keep(task, fitted, removed, region, task.input("soft_edge", SOFT_EDGE)))
    return task


def harmonise(network: str = "vae", **rule: str | float) -> Subgraph:
    """`network` is Perceptual Loss's, `rule` another optimizer and its learning rate."""
    task = Subgraph(
        "Harmonise Pasted Object",
        "Makes light, colours and edges of a pasted object agree with the picture around it. The mask is the object. FreeCompose, with any model.",
        category=CATEGORY,
    )
    model = _model(task)
    picture, mask = task.input("picture", kind="IMAGE"), task.input("mask", kind="MASK")
    shows = task.input("what_it_shows", freecompose.HARMONIOUS)
    with task.group("1 Fit the picture"):
        fitted = _fit(task, picture, mask=mask)
    with task.group("2 Harmonise"):
        empty = freecompose.prompt(task, model, "Empty prompt", "")
        stage = {"iterations": task.input("iterations", 200), "foreground_weight": task.input("keep_object", 0.1)}
        knobs = {name: task.input(name) for name in ("guidance", "seed")} | rule
        keep_look = freecompose.keep_look(task, model, network)
        latent = freecompose.harmonised(task, model, fitted.picture, fitted.mask, keep_look, empty, shows, stage, **knobs)
        harmonised = freecompose.decode(task, model, latent)
    with task.group("3 Keep the rest"):
        around, edge = task.input("grow_mask", 48), task.input("soft_edge", SOFT_EDGE)
        task.output("picture", keep(task, fitted, harmonised, fitted.mask, edge, around))
    return task


def place_object(surround: str = "black (paper)") -> Subgraph:
    task = Subgraph(
        "Place Object Into Picture",
        "Puts an object from one picture into another and paints it in that one's style. Paint on the picture where it goes, and on the reference "
        "over the object. TF-ICON, with an SD1.x, SD2.x or SDXL model.",
        category=CATEGORY,
    )
    domain, model = tf_icon.CROSS, _model(task)
    picture, where = task.input("picture", kind="IMAGE"), task.input("where", kind="MASK")
    reference, thing = task.input("reference"), task.input("object")
    shows = task.input("what_it_should_show", domain.prompt)
    with task.group("1 Fit the picture"):
        fitted = _fit(task, picture, mask=where)
    with task.group("2 Place") as box:
        placed = tf_icon.place(task, fitted.picture, reference, thing, fitted.mask, surround=surround)
        task.add("PreviewImage", title="Placed", images=placed["preview"])
    with task.group("3 Invert both", below=box) as box:
        exceptional = task.add("GraftExceptionalPrompt", clip=model.clip, at=Place(column=0))["conditioning"]
        steps = task.input("steps", tf_icon.STEPS)
        inverted = tf_icon.invert_both(task, model, domain, fitted.picture, placed, exceptional, steps)
    with task.group("4 Compose") as box:
        negative = task.add("CLIPTextEncode", title="Negative prompt", clip=model.clip, text="", at=Place(column=0))[0]
        cfg, keep_object, seed = task.input("cfg", domain.cfg), task.input("keep_object", 0.4), task.input("seed", tf_icon.SEED)
        composed = tf_icon.compose(task, model, domain, inverted, placed, shows, negative, cfg, keep_object, seed)
    with task.group("5 Keep the rest", below=box):
        task.output("picture", keep(task, fitted, composed, placed["region"], task.input("soft_edge", SOFT_EDGE)))
    return task


def edit_by_prompt(layers: str = "paper") -> Subgraph:
    task = Subgraph(
        "Edit Picture by Prompt",
        "Changes what a picture shows by a prompt, and keeps its layout. Free-Prompt-Editing, with an SD1.x, SD2.x or SDXL model.",
        category=CATEGORY,
    )
    model, picture, mask = _model(task), task.input("picture", kind="IMAGE"), task.input("mask", kind="MASK")
    shows = task.input("what_it_should_show", "a red car")
    with task.group("1 Fit the picture"):
        fitted = _fit(task, picture, mask=mask)
    trajectory, empty, box = free_prompt_editing.inversion(task, model, fitted.picture, task.input("steps", 50))
    with task.group("3 Edit", below=box) as box:
        target = task.add("CLIPTextEncode", title="What it should show", clip=model.clip, text=shows)[0]
        cfg, end = task.input("cfg", 7.5), task.input("keep_layout", 0.8)
        edited = free_prompt_editing.edit(task, model, trajectory, empty, target, empty, cfg, layers, end)
    with task.group("4 Keep the rest", below=box):
        task.output("picture", keep(task, fitted, edited, mask, task.input("soft_edge", SOFT_EDGE)))
    return task


def edit_any() -> Subgraph:
    task = Subgraph(
        "Edit Picture with Any Model",
        "Changes what a picture shows by prompt, the way that suits the model: FlowEdit on Flux, Qwen-Image, Z-Image and other flow models, "
        "Free-Prompt-Editing on SD1.x, SD2.x and SDXL.",
        category=CATEGORY,
    )
    model, picture, mask = _model(task), task.input("picture", kind="IMAGE"), task.input("mask", kind="MASK")
    with task.group("1 Prompts and picture"):
        shows, should_show = _line(task, "what_it_shows", "a cat on a bench"), _line(task, "what_it_should_show", "a dog on a bench")
        fitted = _fit(task, picture, mask=mask)
    with task.group("2 Edit") as box:
        prompts = {
            name: task.add("CLIPTextEncode", title=title, clip=model.clip, text=text, at=Place(column=0))[0]
            for name, title, text in (
                ("source_conditioning", "What it shows", shows),
                ("positive", "What it should show", should_show),
                ("negative", "Empty prompt", ""),
            )
        }
        knobs = {name: task.input(name) for name in ("amount", "distilled", "seed")}
        edited = task.add(
            "GraftEditPicture", model=model.unet, vae=model.vae, image=fitted.picture, mask=fitted.mask, feather=0, **prompts, **knobs
        )
    with task.group("3 Keep the rest", below=box):
        task.output("picture", keep(task, fitted, edited["image"], mask, task.input("soft_edge", SOFT_EDGE)))
    return task


def swap_word(layers: str = "paper", grid: str = "quarter (paper)", cfg: float = 7.5) -> Subgraph:
    task = Subgraph(
        "Swap a Word",
        "Changes a word of a picture's prompt, adds words, or makes a word count more or less; the rest of the picture stays. "
        "Prompt-to-Prompt with Local Blend, with an SD1.x, SD2.x or SDXL model.",
        category=CATEGORY,
    )
    model, picture, mask = _model(task), task.input("picture", kind="IMAGE"), task.input("mask", kind="MASK")
    with task.group("1 Prompts and picture"):
        shows, should_show = _line(task, "what_it_shows", "a cat on a bench"), _line(task, "what_it_should_show", "a dog on a bench")
        old, new = task.input("old_words", "cat"), task.input("new_words", "dog")
        fitted = _fit(task, picture, mask=mask)
    with task.group("2 Invert the picture") as box:
        source = encode(task, model, "What it shows", shows)
        trajectory = invert(task, model, fitted.picture, source, steps_of(task, model, task.input("steps", 50)))
    with task.group("3 Edit", below=box) as box:
        target = encode(task, model, "What it should show", should_show)
        empty = task.add("CLIPTextEncode", title="Empty prompt", clip=model.clip, text="", at=Place(column=0))[0]
        control = {"mode": task.input("mode", "refine"), "word_weights": task.input("word_weights", "")}
        edited = prompt_to_prompt.controlled(
            task, model, trajectory, source, control, (old, new), layers, grid, task.input("keep_shape", 0.4), task.input("threshold", 0.3)
        )
        sampled = sample(task, model, edited, trajectory, target, empty, cfg)
    with task.group("4 Keep the rest", below=box):
        task.output("picture", keep(task, fitted, sampled, mask, task.input("soft_edge", SOFT_EDGE)))
    return task


def edit_with_reference(**case: str | float | Choice) -> Subgraph:
    """`case` is what differs from the settings of the published examples."""
    task = Subgraph(
        "Edit with a Reference Picture",
        "Changes words of a picture's prompt, and gives the new ones the look of a reference picture. Paint the mask over the reference's object. "
        "SpecRef, with an SD1.x, SD2.x or SDXL model.",
        category=CATEGORY,
    )
    model, picture = _model(task), task.input("picture", kind="IMAGE")
    reference, reference_mask = task.input("reference", kind="IMAGE"), task.input("reference_mask", kind="MASK")
    mask = task.input("mask", kind="MASK")
    with task.group("1 Prompts and pictures"):
        source, target = _line(task, "what_it_shows", "a cat on a bench"), _line(task, "what_it_should_show", "a tiger on a bench")
        old, new = task.input("old_words", "cat"), task.input("new_words", "tiger")
        fitted = _fit(task, picture, mask=mask)
        referred = fit(task, reference, "Fit the reference", mask=reference_mask, like=fitted.picture)
    case = specref.Case(
        "any",
        "any",
        "any",
        source,
        target,
        self_end=task.input("keep_shape", 0.5),
        threshold=task.input("threshold", 0.4),
        words=new,
        places=(old, new),
        masked=True,
        grid=task.input("word_map_grid"),
        steps=task.input("steps", 50),
        cfg=task.input("cfg", 7.5),
        **{"mode": "refine", "start": 0.08, **case},
    )
    inverted = specref.invert_both(task, model, case, fitted.picture, referred.picture)
    with task.group("3 Edit", below=inverted.box) as box:
        edited = specref.edit(task, model, case, inverted, referred.mask)
    with task.group("4 Keep the rest", below=box):
        task.output("picture", keep(task, fitted, edited, mask, task.input("soft_edge", SOFT_EDGE)))
    return task


def mix() -> Subgraph:
    task = Subgraph(
        "Mix Content and Look",
        "Gives a picture the content of another one and keeps its look. Made for pixel-space models; with Stable Diffusion the effect is slight. "
        "The conditioning is the empty prompt, or Load Pixel Diffusion's. InjectFusion.",
        category=CATEGORY,
    )
    unet, prompt, vae = task.input("model"), task.input("conditioning"), task.input("vae")
    model = Model(unet, clip=prompt, vae=vae)  # nothing here encodes prompts
    look, content = task.input("look", kind="IMAGE"), task.input("content", kind="IMAGE")
    with task.group("1 Fit the pictures"):
        fitted = _fit(task, look)
        like = fit(task, content, "Fit the content", like=fitted.picture).picture
    with task.group("2 Invert both") as box:
        sigmas = steps_of(task, model, task.input("steps", 50))
        start = invert(task, model, fitted.picture, prompt, sigmas, title="Invert the look")
        injected = invert(task, model, like, prompt, sigmas, title="Invert the content")
    with task.group("3 Mix", below=box):
        gamma = Choice("custom", gamma=task.input("amount_of_content", 0.6))
        mixed = task.add("GraftMixHSpace", model=unet, content=injected, content_conditioning=prompt, preset=gamma)
        sampler = task.add("GraftAsymmetricSampler", preset=Choice("paper"), timesteps="the paper's")
        sampled = sample(task, model, mixed["model"], start, prompt, prompt, 1.0, sampler["sampler"])
        task.output("picture", keep(task, fitted, sampled))
    return task


def find_unnatural() -> Subgraph:
    task = Subgraph(
        "Find Unnatural Places",
        "Shows where a model does not believe a picture: pasted objects, seams, wrong shadows. After FreeCompose, with any model.",
        category=CATEGORY,
    )
    model, picture = _model(task), task.input("picture", kind="IMAGE")
    shows = task.input("what_it_shows", "")
    with task.group("1 Fit the picture"):
        fitted = _fit(task, picture)
    with task.group("2 Look"):
        told = freecompose.prompt(task, model, "What it shows", shows)
        knobs = {name: task.input(name) for name in ("draws", "lowest_timestep", "highest_timestep", "seed")}
        heat = task.add("GraftUnnaturalnessMap", model=model.unet, conditioning=told, vae=model.vae, image=fitted.picture, **knobs)
    with task.group("3 Show it on the picture"):
        map_ = keep(task, fitted, task.add("MaskToImage", mask=heat["mask"])[0])
        mask = task.add("ImageToMask", image=map_, channel="red")[0]
        glow = task.add("EmptyImage", title="Glow", width=64, height=64, color=GLOW, at=Place(column=0))[0]
        shown = {"destination": picture, "source": glow, "resize_source": True, "mask": mask}
        task.output("picture", task.add("ImageCompositeMasked", **shown)[0])
        task.output("mask", mask)
    return task


def _model(task: Subgraph) -> Model:
    return Model(task.input("model"), task.input("clip"), task.input("vae"))


def _line(task: Subgraph, name: str, preset: str) -> Output:
    """A prompt of one line: the editor writes its name beside it, as it does not beside a larger field."""
    return task.add("PrimitiveString", title=name.replace("_", " ").capitalize(), value=task.input(name, preset), at=Place(column=0))[0]


def _fit(task: Subgraph, picture: Output, **mask: Output) -> Fitted:
    """The picture at the input `size`."""
    return fit(task, picture, size=task.input("size", SIDE), **mask)
