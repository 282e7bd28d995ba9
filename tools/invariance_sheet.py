"""Picture of invariance: images of the showroom before, and at the mildest strength at which an answer changes.

    python tools/invariance_sheet.py docs/images/invariance.webp

One column per transformation, with the image whose answer changes at the mildest strength; images of earlier columns
are only repeated if the answer to no other one changes.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pytest_clip_robust.config.profile import load_profile
from pytest_clip_robust.config.run import RunConfig
from pytest_clip_robust.corruptions.transformed_images import TransformedImages
from pytest_clip_robust.datasets.images.decoding import read_image
from pytest_clip_robust.evaluation.corrupted_images import take_evenly
from pytest_clip_robust.evaluation.model import EvaluatedModel
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.names import LOCAL_ENGINE
from pytest_clip_robust.properties.invariance import SEARCHED

SHOWN, GAP, LINE = 150, 6, 17
SHORT = {
    "rotation": lambda degrees: f"{degrees:g} degrees",
    "crop": lambda share: f"{share:.0%} cut away",
    "occluder": lambda share: f"{share:.0%} hidden",
    "hue": lambda degrees: f"{degrees:g} degrees",
    "darken": lambda doublings: f"gamma {2**doublings:.1f}",
    "brighten": lambda halvings: f"gamma {2**-halvings:.2f}",
    "resize": lambda share: f"{share:.0%} per side lost",
    "jpeg": lambda below: f"quality {100 - below:g}",
}
"""A strength in few words."""


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="showroom-clip")
    parser.add_argument("--cache", default=None, help="folder of features (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        session = Session(settings(options.cache or temporary), uncaptured=nullcontext)
        draw_sheet(session, options.model).save(options.out, quality=82, method=6)


def settings(cache: str) -> RunConfig:
    """Return the settings of a run of the default profile on the CPU."""
    return RunConfig(
        models=(),
        reference=None,
        profile=load_profile("showroom"),
        baselines=Path("baselines"),
        baseline_name="",
        alpha=0.05,
        correction="bonferroni",
        cache=cache,
        report=None,
        device="cpu",
        precision="fp32",
        batch_size=None,
        workers=0,
        engine=LOCAL_ENGINE,
        pixel_cache=0,
        compile=False,
        worker_memory=None,
        worker_gpus=1,
        strict=False,
        rank=None,
    )


def draw_sheet(session: Session, spec: str) -> Image.Image:
    """Draw one column per transformation: the image before, and at the strength at which its answer changes."""
    (dataset,) = session.profile.sets("invariance")
    chosen = session.profile.invariance
    images = take_evenly(session.library.images(dataset), chosen.images)
    model = EvaluatedModel(session.load(ModelSpec.parse(spec)), session)
    width, height = SHOWN + GAP, SHOWN + LINE
    sheet = Image.new("RGB", (width * len(SEARCHED) - GAP, 2 * (height + LINE)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    shown: set[int] = set()
    for column, name in enumerate(SEARCHED):
        found = model.invariance.breaking_steps(dataset, name)
        changed = [row for row in np.argsort(found.steps, kind="stable") if found.steps[row] <= len(found.strengths)]
        row, names = next((int(one) for one in changed if one not in shown), int(changed[0])), images.class_names
        shown.add(row)
        step = int(found.steps[row])
        made = TransformedImages(images, [(row, ()), (row, ((name, step),))], chosen.seed)
        titles = (name, SHORT[name](found.strengths[step - 1]))
        answers = (found.before.answers[row], found.after[row])
        for version, (title, answer) in enumerate(zip(titles, answers, strict=True)):
            tile = made(read_image(images, row), version).resize((SHOWN, SHOWN), Image.Resampling.LANCZOS)
            left, top = column * width, version * (height + LINE)
            pen.text((left, top + 1), title, fill="black", font=font)
            sheet.paste(tile, (left, top + LINE))
            pen.text((left, top + LINE + SHOWN + 1), names[answer], fill="darkred" if version else "black", font=font)
    return sheet


if __name__ == "__main__":
    main()
