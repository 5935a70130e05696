"""Tasks on the flow models that ComfyUI runs: edit by prompt, inside a mask, remove, harmonise; and what instruction models edit, kept
exact outside a mask.

Files have the names and folders of ComfyUI's own templates, so that who runs those has all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graph import Graph, Group, Node, Output, Place

from . import EXAMPLE, HUGGING_FACE, Fitted, Model, blueprints, fit, free_prompt_editing, keep, show
from .easy import INSIDE, load, painted, pasted, place
from .freecompose import HARMONISATION, REMOVAL
from .notes import ReadMe, add_note, paint

SIDE = 1024


@dataclass(frozen=True)
class File:
    """A file of a model: its folder in ComfyUI's `models`, its name, and the repository and folder where it is to be had."""

    directory: str
    name: str
    published: str

    @property
    def properties(self) -> dict[str, list]:
        """By which the editor offers it where it is missing."""
        return {"models": [{"name": self.name, "url": f"{HUGGING_FACE}/{self.published}/{self.name}", "directory": self.directory}]}


@dataclass(frozen=True)
class Family:
    """A flow model as its workflows load it. `encoder_type` is CLIPLoader's; `shift` that of its noise levels, where the host's own is another;
    `films` is whether its VAE is one of films."""

    name: str
    network: File
    encoder: File
    encoder_type: str
    vae: File
    shift: float | None = None
    distilled: bool = False
    films: bool = False

    @property
    def files(self) -> str:
        """What its notes call it."""
        others = f"with the text encoder {self.encoder.name} and the VAE {self.vae.name}"
        return f"{self.name} ({self.network.name}), {others}; other files of {self.name} work too."


_QWEN, _QWEN_EDIT = "Comfy-Org/Qwen-Image_ComfyUI/resolve/main/split_files", "Comfy-Org/Qwen-Image-Edit_ComfyUI/resolve/main/split_files"
_Z_IMAGE, _KLEIN = "Comfy-Org/z_image_turbo/resolve/main/split_files", "Comfy-Org/flux2-klein/resolve/main/split_files"
_QWEN_3 = "qwen_3_4b.safetensors"

QWEN_IMAGE = Family(
    "Qwen-Image",
    File("diffusion_models", "qwen_image_fp8_e4m3fn.safetensors", f"{_QWEN}/diffusion_models"),
    File("text_encoders", "qwen_2.5_vl_7b_fp8_scaled.safetensors", f"{_QWEN}/text_encoders"),
    "qwen_image",
    File("vae", "qwen_image_vae.safetensors", f"{_QWEN}/vae"),
    shift=3.1,
    films=True,
)
QWEN_IMAGE_EDIT = replace(
    QWEN_IMAGE,
    name="Qwen-Image-Edit",
    network=File("diffusion_models", "qwen_image_edit_2511_fp8mixed.safetensors", f"{_QWEN_EDIT}/diffusion_models"),
)
Z_IMAGE = Family(
    "Z-Image",
    File("diffusion_models", "z_image_turbo_bf16.safetensors", f"{_Z_IMAGE}/diffusion_models"),
    File("text_encoders", _QWEN_3, f"{_Z_IMAGE}/text_encoders"),
    "lumina2",
    File("vae", "ae.safetensors", f"{_Z_IMAGE}/vae"),
    distilled=True,
)
KLEIN = Family(
    "Flux.2 klein",
    File("diffusion_models", "flux-2-klein-base-4b.safetensors", f"{_KLEIN}/diffusion_models"),
    File("text_encoders", _QWEN_3, f"{_KLEIN}/text_encoders"),
    "flux2",
    File("vae", "flux2-vae.safetensors", "Comfy-Org/flux2-dev/resolve/main/split_files/vae"),
)
FAMILIES = (QWEN_IMAGE, Z_IMAGE, KLEIN)

DISTILLED = "*distilled* is for files that were made for few steps (turbo, lightning, klein without *base*): switch it with the file."
UNMEASURED = "How good its pictures are has not been measured on this model: only that every number of the method is right."
MASKED = "outside the mask, and its *soft_edge*, your picture stays to the bit."


def graphs() -> list[Graph]:
    makers = (_edit, _inside_a_mask, _remove, _harmonise)
    return [*(make(family) for family in FAMILIES for make in makers), _instructed_qwen(), _instructed_klein()]


def load_family(graph: Graph, family: Family) -> Model:
    network = graph.add("UNETLoader", unet_name=family.network.name, at=Place(column=0), properties=family.network.properties)
    encoder = {"clip_name": family.encoder.name, "type": family.encoder_type}
    clip = graph.add("CLIPLoader", **encoder, at=Place(column=0), properties=family.encoder.properties)
    vae = graph.add("VAELoader", vae_name=family.vae.name, at=Place(column=0), properties=family.vae.properties)
    model = network[0]
    if family.shift is not None:
        model = graph.add("ModelSamplingAuraFlow", model=model, shift=family.shift, at=Place(column=0))[0]
    return Model(model, clip[0], vae[0])


def _edit(family: Family) -> Graph:
    return _any_model(
        family,
        "Edit Picture by Prompt with {}",
        "Changes what a picture shows by a prompt, without inverting it, and keeps its layout.",
        ("Choose your picture.", "Write what it shows, and what it should show: in the same words but for what changes."),
        "the same composition with another thing, colour, material or season in it.",
        "move things. To change a part only, take **Edit inside a Mask**.",
        free_prompt_editing.MINIATURE,
        what_it_shows="a red car on a beach",
        what_it_should_show="a blue car on a beach",
    )


def _inside_a_mask(family: Family) -> Graph:
    return _any_model(
        family,
        "Edit inside a Mask with {}",
        "Changes what a painted part of a picture shows; all the rest stays to the bit.",
        (
            f"Choose your picture. {paint('it', 'over what shall change')}",
            "Write what the picture shows, and what it should show: all of it, in the same words but for what changes.",
        ),
        f"the part has changed in the light of its surroundings; {MASKED}",
        "paint what reaches beyond the mask, such as a new shadow: paint over its place too.",
        free_prompt_editing.MINIATURE,
        masked=True,
        what_it_shows="a red car on a beach",
        what_it_should_show="a blue car on a beach",
    )


def _remove(family: Family) -> Graph:
    return _any_model(
        family,
        "Remove Object with {}",
        "Removes what is painted over; what was behind it is painted anew, all the rest stays to the bit.",
        (
            f"Choose your picture. {paint('it', 'over the object, **its shadow and its reflection too**')}",
            "Write what the picture shows, and what it shows without the object.",
        ),
        f"grass, sky, a wall, water in its place; {MASKED}",
        "know what was really there, or remove what fills the picture.",
        REMOVAL,
        masked=True,
        what_it_shows="a red car on a beach",
        what_it_should_show="an empty beach",
        amount=1.3,
    )


def _any_model(
    family: Family,
    title: str,
    what: str,
    steps: tuple[str, ...],
    expect: str,
    cannot: str,
    thumbnail_of: str,
    masked: bool = False,
    **inputs: str | float,
) -> Graph:
    """A task of the blueprint that takes the way that suits the model."""
    graph = Graph(title.format(family.name), what, thumbnail_of=thumbnail_of)
    turn = f"*amount*. **Too little changes?** Raise it. **The layout is lost?** Lower it. {DISTILLED}"
    _note(graph, family, steps, turn, expect, cannot)
    with graph.group("1 Model and picture"):
        model = load_family(graph, family)
        pictures = painted(graph) if masked else {"picture": load(graph, "Your picture")["IMAGE"]}
    with graph.group("2 Edit"):
        result = place(graph, blueprints.edit_any(), model, **pictures, size=SIDE, distilled=family.distilled, **inputs)
        graph.add("SaveImage", title="2 result", images=result["picture"], filename_prefix="Graft")
    return graph


def _harmonise(family: Family) -> Graph:
    graph = Graph(
        f"Harmonise Pasted Object with {family.name}",
        "Pastes an object into a picture and makes light, colours and edges agree.",
        thumbnail_of=HARMONISATION,
    )
    _note(
        graph,
        family,
        (
            f"Choose your picture. {paint('it', 'where the object shall be: the box around your strokes counts')}",
            paint("your reference", "over its object, up to its edge"),
        ),
        "*keep_object*. **It still looks pasted?** Lower it, then raise *iterations*. *guidance* is 1 for files that were made for few steps "
        "(turbo, lightning, klein without *base*).",
        f"closer light and colour, softer edges; {MASKED}",
        "turn the object, or redraw it in another style.",
    )
    with graph.group("1 Model and pictures"):
        model = load_family(graph, family)
        pictures = pasted(graph)
    with graph.group("2 Harmonise"):
        guidance = {"guidance": 1.0} if family.distilled else {}
        blueprint = blueprints.harmonise("latent" if family.films else "vae")
        result = place(graph, blueprint, model, **pictures, size=SIDE, **guidance)
        graph.add("SaveImage", title="2 result", images=result["picture"], filename_prefix="Graft")
    return graph


def _note(graph: Graph, family: Family, steps: tuple[str, ...], turn: str, expect: str, cannot: str, more: str = "") -> None:
    note = ReadMe(
        graph.title,
        f"{graph.description} {more or INSIDE}",
        family.files,
        steps=(*steps, "Press **Run**."),
        turn=turn,
        expect=expect,
        cannot=cannot,
        more=UNMEASURED,
    )
    add_note(graph, note)


def _instructed_qwen() -> Graph:
    graph = _instructed(QWEN_IMAGE_EDIT)
    with graph.group("1 Model and picture"):
        model = load_family(graph, QWEN_IMAGE_EDIT)
        loaded = load(graph, "Your picture: paint what may change", EXAMPLE)
    with graph.group("2 Edit") as box:
        fitted = _fitted(graph, loaded)
        prompts = [
            graph.add(
                "TextEncodeQwenImageEditPlus",
                title=title,
                clip=model.clip,
                vae=model.vae,
                image1=fitted.picture,
                prompt=text,
                at=Place(column=1),
            )[0]
            for title, text in (("What to do", "Make the car blue."), ("Empty prompt", ""))
        ]
        normed = graph.add("CFGNorm", model=model.unet, at=Place(column=1))[0]
        latent = graph.add("VAEEncode", pixels=fitted.picture, vae=model.vae, at=Place(column=1))[0]
        settings = {"seed": 0, "steps": 40, "cfg": 3.0, "sampler_name": "euler", "scheduler": "simple"}
        sampled = graph.add("KSampler", model=normed, positive=prompts[0], negative=prompts[1], latent_image=latent, **settings)[0]
        edited = graph.add("VAEDecode", samples=sampled, vae=model.vae)[0]
    return _kept(graph, box, loaded, fitted, edited)


def _instructed_klein() -> Graph:
    graph = _instructed(KLEIN)
    with graph.group("1 Model and picture"):
        model = load_family(graph, KLEIN)
        loaded = load(graph, "Your picture: paint what may change", EXAMPLE)
    with graph.group("2 Edit") as box:
        fitted = _fitted(graph, loaded)
        size = graph.add("GetImageSize", image=fitted.picture, at=Place(column=1))
        seen = graph.add("VAEEncode", pixels=fitted.picture, vae=model.vae, at=Place(column=1))[0]
        positive, negative = (
            graph.add(
                "ReferenceLatent",
                conditioning=graph.add("CLIPTextEncode", title=title, clip=model.clip, text=text, at=Place(column=1))[0],
                latent=seen,
                at=Place(column=2),
            )[0]
            for title, text in (("What to do", "Make the car blue."), ("Empty prompt", ""))
        )
        sides = {"width": size["width"], "height": size["height"]}
        sampled = graph.add(
            "SamplerCustomAdvanced",
            noise=graph.add("RandomNoise", noise_seed=0, at=Place(column=2))[0],
            guider=graph.add("CFGGuider", model=model.unet, positive=positive, negative=negative, cfg=5.0, at=Place(column=3))[0],
            sampler=graph.add("KSamplerSelect", sampler_name="euler", at=Place(column=2))[0],
            sigmas=graph.add("Flux2Scheduler", steps=20, **sides, at=Place(column=2))[0],
            latent_image=graph.add("EmptyFlux2LatentImage", **sides, batch_size=1, at=Place(column=3))[0],
        )
        edited = graph.add("VAEDecode", samples=sampled[0], vae=model.vae)[0]
    return _kept(graph, box, loaded, fitted, edited)


def _instructed(family: Family) -> Graph:
    graph = Graph(
        f"Keep Outside Mask after {family.name}",
        "Edits a picture by an instruction, and keeps every pixel outside a mask.",
        thumbnail_of=free_prompt_editing.MINIATURE,
    )
    _note(
        graph,
        family,
        (f"Choose your picture. {paint('it', 'over what may change')}", "Write into **What to do** what shall change."),
        "*grow* of Keep Outside Mask. **The edit is cut off?** Raise it. **A seam?** Raise *feather*.",
        "the model's own edit inside the mask. Outside, where such models shift colours and details, your picture stays to the bit, at its own size.",
        "mend an edit that moves things across the mask's edge.",
        "The edit is the model's own; **Fit Picture** and **Keep Outside Mask** stand around it, as they can around any edit node.",
    )
    return graph


def _fitted(graph: Graph, loaded: Node) -> Fitted:
    return fit(graph, loaded["IMAGE"], mask=loaded["MASK"], size=SIDE, multiple=16)


def _kept(graph: Graph, above: Group, loaded: Node, fitted: Fitted, edited: Output) -> Graph:
    with graph.group("3 Keep the rest", below=above):
        kept = keep(graph, fitted, edited, loaded["MASK"], feather=8, grow=8, colour="matched at the seam")
        show(graph, kept, "2 result", "Graft")
    return graph
