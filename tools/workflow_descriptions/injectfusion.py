"""InjectFusion: on pixel-space models, for all of a picture or a part of it, with Stable Diffusion, and on both miniatures."""

from __future__ import annotations

from graph import Choice, Graph, Node, Output, Place

from . import EXAMPLE, HUGGING_FACE, Checkpoint, Drawn, Model, draw, load_checkpoint, load_miniature, show_enlarged, steps_of
from .notes import MINIATURE, WITHDRAWN, ReadMe, add_note, paint

PIXELS = "InjectFusion"
MASKED = "InjectFusion with a mask"
FACES = "InjectFusion faces (miniature)"
GRID = "InjectFusion grid (miniature)"
SWEEP = "InjectFusion sweep (miniature)"
SCENE = "InjectFusion scene (miniature)"
PIXEL_MODEL = "ddpm-celebahq-256"
SD21 = Checkpoint("v2-1_768-ema-pruned.safetensors", 768, f"SD2.1, as in the paper; SD1.x, at 512 pixels, works too. {WITHDRAWN}")
STEPS = 25
"""Of the miniatures. Mix h-Space adapts its gamma to them."""
FACE_TIMESTEPS = {"edit_timestep": 150, "boost_timestep": 50}
"""Where a picture of 64 pixels shows as much as the paper's of 256 at its timesteps 400 and 200."""
FACE_SCALE = 4.0
"""How much larger than they are faces are shown."""
GAMMA, GAMMAS, OMEGAS = 0.6, (0.3, 0.6, 1.0), (0.0, 0.3, 0.6, 1.0)
"""The paper's gamma, and the values of the sweep."""
SCENE_TIMESTEPS = {"edit_timestep": 400, "boost_timestep": 0}

WHAT_IT_DOES = (
    "Gives the **original** the content of another picture and keeps its colours: face, expression and glasses come from the content, "
    "skin, hair colour, make-up and background stay."
)
PIXEL_MODELS = (
    f"a pixel-space one in diffusers' format (UNet2DModel), such as {PIXEL_MODEL}: put the files of "
    f"[{HUGGING_FACE.removeprefix('https://')}/google/{PIXEL_MODEL}]({HUGGING_FACE}/google/{PIXEL_MODEL}) into the folder "
    f"*models/diffusers/{PIXEL_MODEL}*."
)
FACES_MODEL = "**Load Miniature Faces**, the small pixel model that comes with Graft: nothing to download, seconds on any machine."
KNOBS = (
    "*gamma* of Mix h-Space (*preset*: custom) and *omega* of the Asymmetric Sampler. **Too little of the content?** Raise *gamma*, or lower *omega*. "
    "**The original is lost?** The other way round."
)
DISTORTED = (
    "carry single strands, marks or lettering over; above a *gamma* of 0.6 or so pictures get distorted and no closer to the content."
)


def graphs() -> list[Graph]:
    return [_pixels(), _masked(), _generated(SD21), _faces(), _grid(), _sweep(), _scene()]


def _pixels() -> Graph:
    """The paper's settings: 50 steps of DDIM there and back, gamma 0.6 and omega 0.3."""
    graph = Graph(
        PIXELS, "Give a picture the content of another and keep its look, with an unconditional pixel-space model.", thumbnail_of=FACES
    )
    add_note(
        graph,
        ReadMe(
            "InjectFusion",
            WHAT_IT_DOES,
            PIXEL_MODELS,
            steps=(
                "Choose the folder in **Load Pixel Diffusion**.",
                "Choose two pictures of the kind the model was trained on: aligned faces, for that one. Both are cut to a square of 256 pixels.",
                "Press **Run**.",
            ),
            turn=f"{KNOBS} **The original is a painting?** Choose the preset *released, artistic original* in both nodes: no noise is added to it.",
            expect="the original's colours and light on the content's shapes; more alike than either, and of the model's quality.",
            cannot=f"work with pictures of another kind, or larger than the model's; {DISTORTED}",
            more="The settings are the paper's.",
        ),
    )
    with graph.group("1 Model and pictures"):
        model, empty = _load_pixel_model(graph)
        original = _your_picture(graph, "Original: gives the look", "1 input")
        content = _your_picture(graph, "Content: gives what is shown", "1 content")
    result = _injected(graph, model, empty, original, content, steps=50)
    with graph.group("4 Result"):
        graph.add("SaveImage", title="2 result", images=result, filename_prefix="Graft/injectfusion")
    return graph


def _masked() -> Graph:
    graph = Graph(
        MASKED,
        "Give a part of a picture the content of the same part of another, with a pixel-space model.",
        thumbnail=("1 input", "1 content", "3 upper half only"),
        thumbnail_of=FACES,
    )
    add_note(
        graph,
        ReadMe(
            "InjectFusion with a mask",
            "Gives a part of the **original** the content of the same part of another picture: the eyes of another face, its mouth.",
            PIXEL_MODELS,
            steps=(
                "Choose the folder in **Load Pixel Diffusion**.",
                "Choose two pictures of the kind the model was trained on. Both are cut to a square of 256 pixels, the painted part too.",
                paint("the original", "over the part"),
                "Press **Run**.",
            ),
            turn=f"what is painted, generously. {KNOBS}",
            expect="the part's features from the content, in the original's colours, and a little change around it.",
            cannot="be exact to the mask: the bottleneck has 8 x 8 cells, one covers 32 pixels of 256, smaller masks count as a part of a cell, and what "
            "is mixed in a cell is seen around it too.",
            more="The settings are the paper's.",
        ),
    )
    with graph.group("1 Model and pictures"):
        model, empty = _load_pixel_model(graph)
        loaded = graph.add("LoadImage", title="Original, with the part painted", image=EXAMPLE, at=Place(column=0))
        original = _square(graph, loaded["IMAGE"], "1 input")
        as_picture = graph.add("MaskToImage", mask=loaded["MASK"], at=Place(column=1))
        squared = graph.add(
            "ImageScale", image=as_picture[0], upscale_method="area", width=256, height=256, crop="center", at=Place(column=1)
        )
        mask = graph.add("ImageToMask", image=squared[0], channel="red", at=Place(column=1))[0]
        content = _your_picture(graph, "Content: gives the part", "1 content")
    result = _injected(graph, model, empty, original, content, steps=50, mask=mask)
    with graph.group("4 Result"):
        graph.add("SaveImage", title="2 result", images=result, filename_prefix="Graft/injectfusion-mask")
    return graph


def _generated(checkpoint: Checkpoint) -> Graph:
    """Appendix I: two generations of SD2, 50 steps of DDIM, guidance 9."""
    graph = Graph(
        f"{PIXELS} SD2.1",
        "Give a generated picture the content of another prompt's, with Stable Diffusion.",
        thumbnail_of=SCENE,
    )
    add_note(
        graph,
        ReadMe(
            "InjectFusion with Stable Diffusion",
            "Both pictures are generated, each from its own prompt and noise. The result is the original once more, with the content's bottleneck "
            "mixed into its own.",
            checkpoint.name,
            steps=("Choose your checkpoint.", "Write both prompts, and press **Run**."),
            turn="*gamma*, if nothing changes: raise it to 1 (*preset*: custom) and lower *edit_timestep* of the Asymmetric Sampler. "
            "**Broken pictures?** The other way round.",
            expect="little: the bottleneck of latent models holds less than that of pixel models. The paper calls this a pilot.",
            cannot="carry a thing, a face or a style over; for that there are the other methods.",
            more=f"{_settings(checkpoint)}\n\n"
            "The paper's other prompts, original | content:\n"
            "- a highly detailed epic cinematic concept art CG render digital painting artwork: dieselpunk steaming robot | digital painting artwork: "
            "a cube-shaped robot with big wheels\n"
            "- 8k, wallpaper car | concept, 8k, wallpaper sports car, ferrari bg\n"
            "- A digital illustration of a small town, 4k, detailed, animation, fantasy | A digital illustration of a dense forest, trending in "
            "artstation, 4k, fantasy",
        ),
    )
    with graph.group("1 Model and prompts"):
        model = load_checkpoint(graph, checkpoint.file)
        prompts = [
            graph.add("CLIPTextEncode", title=title, clip=model.clip, text=text)[0]
            for title, text in (
                ("Original prompt", "a realistic photo of a woman."),
                ("Content prompt", "a realistic photo of a muscle man."),
                ("Negative prompt", ""),
            )
        ]
    original, content, negative = prompts
    with graph.group("2 Generate the content"):
        sigmas = steps_of(graph, model, steps=50)
        latent = graph.add("EmptyLatentImage", width=checkpoint.side, height=checkpoint.side, batch_size=1)[0]
        guider = graph.add("CFGGuider", model=model.unet, positive=content, negative=negative, cfg=9.0)[0]
        recorded = graph.add(
            "GraftRecordContent",
            noise=graph.add("RandomNoise", title="Noise of the content", noise_seed=1)[0],
            guider=guider,
            sampler=graph.add("GraftSampler", solver="DDIM")[0],
            sigmas=sigmas,
            latent_image=latent,
        )
        decoded = graph.add("VAEDecode", samples=recorded["latent"], vae=model.vae)
        graph.add("PreviewImage", title="1 content", images=decoded[0])
    noise = None
    for title, shown in (("3 The original, as it is", "1 input"), ("4 The original with the content", "2 result")):
        with graph.group(title):
            noise = noise or graph.add("RandomNoise", title="Noise of the original", noise_seed=2)[0]
            unet, sampler = model.unet, ("GraftSampler", {"solver": "DDIM"})
            if shown == "2 result":
                unet = graph.add(
                    "GraftMixHSpace", model=unet, content=recorded["trajectory"], content_conditioning=content, preset=Choice("paper")
                )["model"]
                sampler = ("GraftAsymmetricSampler", {"preset": Choice("released"), "timesteps": "the paper's"})
            guider = graph.add("CFGGuider", model=unet, positive=original, negative=negative, cfg=9.0)[0]
            sampler = graph.add(sampler[0], **sampler[1])[0]
            sampled = graph.add("SamplerCustomAdvanced", noise=noise, guider=guider, sampler=sampler, sigmas=sigmas, latent_image=latent)
            picture = graph.add("VAEDecode", samples=sampled["output"], vae=model.vae)[0]
            kind, saved = ("SaveImage", {"filename_prefix": "Graft/injectfusion"}) if shown == "2 result" else ("PreviewImage", {})
            graph.add(kind, title=shown, images=picture, **saved)
    return graph


def _settings(checkpoint: Checkpoint) -> str:
    said = "Steps and guidance are the paper's, *gamma* and the timesteps those it has for faces"
    return f"{said}."


def _faces() -> Graph:
    graph = Graph(
        FACES,
        "Give a drawn face the features of another and keep its colours; runs in seconds on any machine.",
        thumbnail=("1 input", "1 content", "2 result"),
    )
    add_note(
        graph,
        ReadMe(
            "InjectFusion on the miniature's faces",
            WHAT_IT_DOES,
            FACES_MODEL,
            turn=f"other faces. {KNOBS}",
            expect="**2 result** is the original's colours with the content's features; **3 upper half only** mixes inside a mask.",
            cannot=DISTORTED,
            more="The timesteps of the Asymmetric Sampler are the paper's for pictures this small: less noise hides as much.",
        ),
    )
    with graph.group("1 Model and pictures"):
        model, empty = _load_faces(graph)
        original = _face(graph, "Original: gives the look", **ORIGINALS[0])
        content = _face(graph, "Content: gives the features", **CONTENTS[0])
        show_enlarged(graph, original, "1 input", scale=FACE_SCALE)
        show_enlarged(graph, content, "1 content", scale=FACE_SCALE)
    trajectories = _inverted(graph, model, empty, original, content, STEPS)
    with graph.group("3 Inject") as box:
        result = _inject(graph, model, empty, *trajectories, timesteps=FACE_TIMESTEPS)
        show_enlarged(graph, result, "2 result", save_as="Graft/injectfusion", scale=FACE_SCALE)
    with graph.group("4 Inject into a part", below=box):
        dark = graph.add("SolidMask", title="Nothing", value=0.0, width=64, height=64)[0]
        light = graph.add("SolidMask", title="Upper half", value=1.0, width=64, height=36)[0]
        mask = graph.add("MaskComposite", destination=dark, source=light, x=0, y=0, operation="add")[0]
        result = _inject(graph, model, empty, *trajectories, mask=mask, timesteps=FACE_TIMESTEPS)
        show_enlarged(graph, result, "3 upper half only", scale=FACE_SCALE)
    return graph


def _grid() -> Graph:
    """The paper's Figure 4 in small."""
    graph = Graph(GRID, "Every original with every content, in one picture; runs on any machine.", thumbnail=("2 grid",))
    add_note(
        graph,
        ReadMe(
            "Originals x contents",
            "Every original with every content, by InjectFusion. Above: the originals, which give the colours. Left: the contents, which give the "
            "features.",
            FACES_MODEL,
            turn=f"other faces. {KNOBS}",
            expect="along a row the same features, down a column the same colours.",
            cannot=DISTORTED,
        ),
    )
    with graph.group("1 Model and pictures"):
        model, empty = _load_faces(graph)
        originals = [_face(graph, f"Original {number}", **face) for number, face in enumerate(ORIGINALS, start=1)]
        contents = [_face(graph, f"Content {number}", **face) for number, face in enumerate(CONTENTS, start=1)]
        pairs = [(original, content) for content in contents for original in originals]
        original = _batch(graph, "Originals", [original for original, _ in pairs])
        content = _batch(graph, "Contents", [content for _, content in pairs])
    result = _injected(graph, model, empty, original, content, STEPS, timesteps=FACE_TIMESTEPS)
    with graph.group("4 Result"):
        blank = graph.add("EmptyImage", width=64, height=64, batch_size=1, color=0xFFFFFF)[0]
        rows = [_batch(graph, "Above", [blank, *originals])]
        for number, content in enumerate(contents):
            start = number * len(originals)
            results = graph.add("ImageFromBatch", title=f"Row {number + 1}", image=result, batch_index=start, length=len(originals))
            rows.append(_batch(graph, "With its content", [content, results[0]]))
        listed = graph.add("RebatchImages", images=_batch(graph, "Tiles", rows), batch_size=1)[0]
        size = {"final_width": 64 * (1 + len(originals)), "final_height": 64 * (1 + len(contents))}
        merged = graph.add("ImageMergeTileList", image_list=listed, overlap=0, **size)[0]
        show_enlarged(graph, merged, "2 grid", save_as="Graft/injectfusion-grid", scale=FACE_SCALE)
    return graph


def _sweep() -> Graph:
    """Figures S2 and S3 in small."""
    graph = Graph(SWEEP, "The same pictures with more and more content, and with more and more calibration.", thumbnail=("2 gamma",))
    add_note(
        graph,
        ReadMe(
            "The two knobs",
            f"InjectFusion with rising values. Every row: the original, the content, and the results. **2 gamma**: {_listed(GAMMAS)} at omega 0. "
            f"**3 omega**: {_listed(OMEGAS)} at gamma {GAMMA:g}.",
            FACES_MODEL,
            turn="*gamma* of one of the Mix h-Space, or *omega* of one of the Asymmetric Samplers: each makes one column.",
            expect="*gamma* takes more of the content, until the picture is distorted. *omega* keeps more of the original: at 1 next to nothing is "
            "injected.",
            cannot="say which values are best on another model: that is for you to see there.",
        ),
    )
    with graph.group("1 Model and pictures"):
        model, empty = _load_faces(graph)
        original = _batch(graph, "Originals", [_face(graph, f"Original {n}", **face) for n, face in enumerate(ORIGINALS, start=1)])
        content = _batch(graph, "Contents", [_face(graph, f"Content {n}", **face) for n, face in enumerate(CONTENTS, start=1)])
    trajectories = _inverted(graph, model, empty, original, content, STEPS)
    results: dict[tuple[float, float], Output] = {}
    box = None
    for title, shown, settings in (
        ("3 gamma", "2 gamma", [(gamma, 0.0) for gamma in GAMMAS]),
        ("4 omega", "3 omega", [(GAMMA, omega) for omega in OMEGAS]),
    ):
        with graph.group(title, below=box) as box:
            strip = graph.add("ImageStitch", image1=original, image2=content, direction="right")[0]
            for knobs in settings:
                if knobs not in results:
                    gamma, omega = knobs
                    results[knobs] = _inject(graph, model, empty, *trajectories, gamma=gamma, omega=omega, timesteps=FACE_TIMESTEPS)
                strip = graph.add("ImageStitch", image1=strip, image2=results[knobs], direction="right")[0]
            enlarged = graph.add("ImageScaleBy", title="Enlarge", image=strip, upscale_method="lanczos", scale_by=2.0)
            graph.add("SaveImage", title=shown, images=enlarged[0], filename_prefix=f"Graft/injectfusion-{title[2:]}")
    return graph


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _scene() -> Graph:
    graph = Graph(
        SCENE, "Mix the bottleneck of one drawn scene into another's, with a latent model.", thumbnail=("1 input", "1 content", "2 result")
    )
    add_note(
        graph,
        ReadMe(
            "InjectFusion on the miniature's scenes",
            "Mixes the bottleneck of one drawn scene into another's. The miniature's first model is a latent one, like Stable Diffusion; what its "
            "bottleneck holds is for you to see.",
            MINIATURE,
            turn=KNOBS,
            expect="little: the paper itself calls InjectFusion on latent models a pilot.",
            cannot="move a thing from one scene into the other.",
        ),
    )
    with graph.group("1 Model and pictures"):
        model = load_miniature(graph)
        empty = graph.add("CLIPTextEncode", title="Empty prompt", clip=model.clip, text="")[0]
        original = draw(graph, Drawn("car", "red", size=0.5), title="Original", ground="shore")
        content = draw(graph, Drawn("owl", size=0.5), title="Content", ground="meadow")
        show_enlarged(graph, original["picture"], "1 input")
        show_enlarged(graph, content["picture"], "1 content")
    trajectories = _inverted(graph, model, empty, original["picture"], content["picture"], STEPS)
    with graph.group("3 Inject"):
        result = _inject(graph, model, empty, *trajectories, gamma=1.0, omega=0.0, timesteps=SCENE_TIMESTEPS)
        show_enlarged(graph, result, "2 result", save_as="Graft/injectfusion-scene")
    return graph


ORIGINALS = (
    {"jaw": "round", "expression": "calm", "skin": "brown", "hair": "blue", "makeup": "violet", "background": "sand", "seed": 3},
    {"jaw": "long", "eyes": "narrow", "expression": "calm", "skin": "light", "hair": "ginger", "background": "mint", "seed": 5},
    {
        "jaw": "pointed",
        "nose": "long",
        "expression": "happy",
        "skin": "tan",
        "hair": "black",
        "makeup": "red",
        "background": "rose",
        "seed": 9,
    },
)
CONTENTS = (
    {
        "jaw": "square",
        "nose": "broad",
        "expression": "happy",
        "glasses": "square",
        "skin": "light",
        "hair": "blond",
        "background": "night",
        "seed": 2,
    },
    {
        "jaw": "long",
        "eyes": "closed",
        "expression": "surprised",
        "skin": "deep",
        "hair": "black",
        "makeup": "teal",
        "background": "rose",
        "seed": 4,
    },
    {
        "jaw": "round",
        "nose": "long",
        "expression": "sad",
        "glasses": "round",
        "skin": "tan",
        "hair": "blond",
        "background": "mint",
        "seed": 7,
    },
)


def _load_faces(graph: Graph) -> tuple[Model, Output]:
    loaded = graph.add("GraftLoadMiniatureFaces", at=Place(column=0))
    return Model(loaded["model"], None, loaded["vae"]), loaded["conditioning"]


def _load_pixel_model(graph: Graph) -> tuple[Model, Output]:
    loaded = graph.add("GraftLoadPixelDiffusion", folder=PIXEL_MODEL, at=Place(column=0))
    return Model(loaded["model"], None, loaded["vae"]), loaded["conditioning"]


def _face(graph: Graph, title: str, **attributes) -> Output:
    return graph.add("GraftMiniatureFace", title=title, at=Place(column=0), **attributes)["picture"]


def _batch(graph: Graph, title: str, pictures: list[Output]) -> Output:
    return graph.add("BatchImagesNode", title=title, **{f"images.image{number}": picture for number, picture in enumerate(pictures)})[0]


def _your_picture(graph: Graph, title: str, shown: str) -> Output:
    return _square(graph, graph.add("LoadImage", title=title, image=EXAMPLE, at=Place(column=0))["IMAGE"], shown)


def _square(graph: Graph, picture: Output, shown: str) -> Output:
    squared = graph.add("ImageScale", image=picture, upscale_method="lanczos", width=256, height=256, crop="center", at=Place(column=1))[0]
    graph.add("PreviewImage", title=shown, images=squared, at=Place(column=1))
    return squared


def _inverted(graph: Graph, model: Model, empty: Output, original: Output, content: Output, steps: int) -> tuple[Output, Output]:
    """The trajectories of both, by plain DDIM inversion as in the paper."""
    with graph.group("2 Invert both"):
        sigmas = steps_of(graph, model, steps)
        shared = {"model": model.unet, "vae": model.vae, "conditioning": empty, "sigmas": sigmas, "solver": "DDIM", "iterations": 1}
        trajectories = [
            graph.add("GraftInvertImage", title=title, image=picture, **shared)["trajectory"]
            for title, picture in (("Invert the original", original), ("Invert the content", content))
        ]
    return tuple(trajectories)


def _injected(
    graph: Graph,
    model: Model,
    empty: Output,
    original: Output,
    content: Output,
    steps: int,
    mask: Output | None = None,
    timesteps: dict[str, int] | None = None,
) -> Output:
    """The result in boxes of their own: 2 Invert both, 3 Inject."""
    trajectories = _inverted(graph, model, empty, original, content, steps)
    with graph.group("3 Inject"):
        return _inject(graph, model, empty, *trajectories, mask=mask, timesteps=timesteps)


def _inject(
    graph: Graph,
    model: Model,
    empty: Output,
    original: Output,
    content: Output,
    gamma: float | None = None,
    omega: float | None = None,
    mask: Output | None = None,
    timesteps: dict[str, int] | None = None,
) -> Output:
    """The original from its own inverted noise, with the content's bottleneck; by the paper's preset, or with other numbers and
    timesteps."""
    mixed: Node = graph.add(
        "GraftMixHSpace",
        model=model.unet,
        content=content,
        content_conditioning=empty,
        preset=Choice("paper") if gamma is None else Choice("custom", gamma=gamma),
        **({"mask": mask} if mask else {}),
    )
    process = Choice("custom", omega=0.3 if omega is None else omega, regularise=True, **timesteps) if timesteps else Choice("paper")
    start = graph.add("GraftStartFromTrajectory", model=model.unet, trajectory=original)
    sampled = graph.add(
        "SamplerCustomAdvanced",
        noise=start["noise"],
        guider=graph.add("BasicGuider", model=mixed["model"], conditioning=empty)[0],
        sampler=graph.add("GraftAsymmetricSampler", preset=process)["sampler"],
        sigmas=start["sigmas"],
        latent_image=start["latent"],
    )
    return graph.add("VAEDecode", samples=sampled["output"], vae=model.vae)["IMAGE"]
