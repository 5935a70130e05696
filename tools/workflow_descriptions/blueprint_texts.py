"""What the inputs and outputs of blueprints are for, in every language that the pack speaks.

The editor looks for their tooltips under the class of its node, which for a subgraph is the id of its definition. So these
texts are entries of the locales.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .blueprints import blueprints

LANGUAGES = ("en", "zh", "ja")

TOOLTIPS: Mapping[str, tuple[str, str, str]] = {
    "model": (
        "The checkpoint's model, or the miniature's.",
        "大模型的 MODEL，或 Miniature 的。",
        "チェックポイントの MODEL、またはミニチュアのもの。",
    ),
    "clip": ("The checkpoint's text encoder.", "大模型的 CLIP 文本编码器。", "チェックポイントの CLIP（テキストエンコーダー）。"),
    "vae": ("The checkpoint's VAE.", "大模型的 VAE。", "チェックポイントの VAE。"),
    "conditioning": (
        "The empty prompt, or Load Pixel Diffusion's.",
        "空提示词，或 Load Pixel Diffusion 给出的。",
        "空のプロンプト、または Load Pixel Diffusion のもの。",
    ),
    "picture": (
        "Your picture, of any size; it comes back at that size.",
        "你的图片，任意尺寸；结果保持原尺寸。",
        "あなたの画像。大きさは自由で、同じ大きさで戻ります。",
    ),
    "mask": (
        "What is painted on the picture: the object, or the place that may change. Outside it every pixel stays.",
        "在图片上涂抹的部分：物体，或允许改变的地方。外面的像素完全不变。",
        "画像に塗った部分：物体、または変えてよい場所。その外の画素はそのまま残ります。",
    ),
    "where": (
        "Painted on your picture: where the object goes. The box around the strokes counts.",
        "在你的图片上涂抹：物体放在哪里。以涂抹的外接框为准。",
        "あなたの画像に塗ります：物体を置く場所。塗った部分を囲む枠が使われます。",
    ),
    "reference": (
        "The picture that the object, or the look, comes from.",
        "提供物体或外观的参考图。",
        "物体や見た目を取ってくる参照画像。",
    ),
    "object": (
        "Painted on the reference: the object, up to its edge.",
        "在参考图上涂抹：物体，直到边缘。",
        "参照画像に塗ります：物体を縁まで。",
    ),
    "reference_mask": ("Painted on the reference: its object.", "在参考图上涂抹：其中的物体。", "参照画像に塗ります：その中の物体。"),
    "look": ("The picture whose colours and brush are kept.", "保留其色彩和笔触的图片。", "色や筆づかいを残す画像。"),
    "content": ("The picture whose content comes in.", "提供内容的图片。", "内容を持ち込む画像。"),
    "what_it_shows": ("A prompt of what your picture shows now.", "提示词：图片现在显示什么。", "プロンプト：画像に今写っているもの。"),
    "what_it_should_show": (
        "A prompt of what the finished picture shows.",
        "提示词：完成后的图片显示什么。",
        "プロンプト：できあがりに写るもの。",
    ),
    "without_the_object": ("A prompt of the picture without the object.", "提示词：没有该物体的图片。", "プロンプト：物体がない画像。"),
    "old_words": (
        "Words of what_it_shows whose place may change, separated by commas.",
        "what_it_shows 中可以改变的词，用逗号分隔。",
        "what_it_shows の中で変えてよい語。コンマで区切ります。",
    ),
    "new_words": (
        "Words of what_it_should_show that come in their place, separated by commas.",
        "what_it_should_show 中取而代之的词，用逗号分隔。",
        "what_it_should_show の中で代わりに入る語。コンマで区切ります。",
    ),
    "size": (
        "The longer side while the model works, in pixels: 512 for SD1.x, 1024 for SDXL and flow models. The result keeps the picture's own size.",
        "模型工作时的长边像素：SD1.x 用 512，SDXL 和流模型用 1024。结果保持图片原尺寸。",
        "モデルが作業するときの長辺（画素）：SD1.x は 512、SDXL とフロー系モデルは 1024。結果は元の大きさです。",
    ),
    "steps": (
        "Steps of sampling and inversion. More is finer and slower.",
        "采样和反演的步数。越多越细致，也越慢。",
        "サンプリングと反転のステップ数。多いほど細かく遅くなります。",
    ),
    "cfg": ("How strongly the prompt is followed.", "遵循提示词的强度。", "プロンプトに従う強さ。"),
    "guidance": ("How strongly the prompts are followed.", "遵循提示词的强度。", "プロンプトに従う強さ。"),
    "keep_layout": (
        "How long the picture's layout is held. Lower: more changes.",
        "保持构图的时长。越低变化越多。",
        "構図を保つ長さ。低いほど大きく変わります。",
    ),
    "keep_shape": (
        "How long the old shape is held. Lower: more changes.",
        "保持旧形状的时长。越低变化越多。",
        "元の形を保つ長さ。低いほど大きく変わります。",
    ),
    "keep_object": ("How much of the object stays as it is.", "物体保持原样的程度。", "物体をそのまま残す度合い。"),
    "threshold": ("Lower: a larger place may change.", "越低，允许改变的区域越大。", "低いほど広い場所が変わります。"),
    "soft_edge": ("How soft the edge of the edit is, in pixels.", "编辑边缘的柔和程度，像素。", "編集の境目のやわらかさ（画素）。"),
    "grow_mask": (
        "How far beyond the mask the picture may change, in pixels.",
        "遮罩之外还可改变多少像素。",
        "マスクの外へどこまで変えてよいか（画素）。",
    ),
    "iterations": (
        "How long it works. More is stronger and slower.",
        "迭代次数。越多效果越强，也越慢。",
        "反復の回数。多いほど強く遅くなります。",
    ),
    "amount": (
        "How much may change. 1: as the method has it. Less keeps more of the layout.",
        "允许改变的程度。1：方法的原设定。越低，构图保留越多。",
        "どれだけ変えてよいか。1：手法のまま。小さいほど構図が残ります。",
    ),
    "distilled": (
        "Whether the model was made for few steps (turbo, klein, lightning): it is asked without guidance then.",
        "模型是否蒸馏为少步数（turbo、klein、lightning）：是则不用引导。",
        "少ないステップ用に蒸留されたモデルか（turbo、klein、lightning）。その場合はガイダンスなしで使います。",
    ),
    "amount_of_content": ("How much of the content comes in.", "加入多少内容。", "内容をどれだけ持ち込むか。"),
    "word_map_grid": ("How finely words are looked for in the picture.", "在图中寻找词语的精细度。", "語を画像の中で探す細かさ。"),
    "mode": (
        "replace: as many words as before. refine: words are added or changed.",
        "replace：词数相同。refine：增加或改变词语。",
        "replace：語数が同じ。refine：語を足す、または変える。",
    ),
    "word_weights": (
        "Words that count more or less, for example: snow: 3.",
        "加强或减弱的词，例如 snow: 3。",
        "強める、または弱める語。例：snow: 3。",
    ),
    "optimizer": ("How the picture is moved. Leave it.", "优化方法。一般不用改。", "最適化の方法。普通はそのままで。"),
    "learning_rate": ("How large each move is. Leave it.", "每次移动的大小。一般不用改。", "一回の動きの大きさ。普通はそのままで。"),
    "seed": ("Another number, another try.", "换一个数字，再试一次。", "数を変えると別の結果になります。"),
    "draws": (
        "How often it looks. More is steadier and slower.",
        "观察次数。越多越稳定，也越慢。",
        "見る回数。多いほど安定し遅くなります。",
    ),
    "lowest_timestep": (
        "From which noise level it looks: low for fine faults.",
        "从哪个噪声级别开始看：低值看细小瑕疵。",
        "どのノイズから見るか：低いと細かい傷。",
    ),
    "highest_timestep": (
        "Up to which noise level it looks: high for whole things.",
        "看到哪个噪声级别：高值看整个物体。",
        "どのノイズまで見るか：高いと物全体。",
    ),
}
"""By the name of the input; in the order of LANGUAGES."""

RESULTS: Mapping[str, tuple[str, str, str]] = {
    "picture": (
        "The finished picture, as large as yours.",
        "完成的图片，与你的图片同样大小。",
        "できあがった画像。あなたの画像と同じ大きさです。",
    ),
    "mask": (
        "How unnatural each place is: white most.",
        "每一处有多不自然：越白越不自然。",
        "それぞれの場所の不自然さ：白いほど不自然です。",
    ),
}
"""By the name of the output."""


def entries(language: str) -> dict[str, dict[str, Any]]:
    """What the locale of a language says of blueprints, by the id of each. A KeyError names an input or output without a text."""
    column = LANGUAGES.index(language)
    return {
        task.id: {
            "inputs": {name: {"tooltip": TOOLTIPS[name][column]} for name in task.kinds},
            "outputs": {str(number): {"tooltip": RESULTS[name][column]} for number, name in enumerate(task.exits)},
        }
        for task in blueprints()
    }
