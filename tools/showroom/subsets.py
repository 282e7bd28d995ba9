"""Subsets of the showroom: for each, the list of jobs, the function that renders a job, and the columns."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from . import captions, scenes, styles, surfaces
from .catalogue import Model, group, read_catalogue, split
from .mesh import Mesh, load_mesh
from .scenes import Props, Setting, natural
from .studio import Camera, Picture, Studio, extrinsics, intrinsics

SEED = 1
SIZE = 128
QUALITY = 88
UNSHIPPED = ("train", "validation")
FACTORS = (*scenes.CHANGES, "style")
BLOCKED = (0.2, 0.7)
"""Wanted range of the share of the main object that a blocking object hides."""

Row = dict[str, Any]
Job = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class World:
    """All 3D models: those of the classes by split, and those of the near-OOD kinds."""

    classes: dict[str, dict[str, list[Model]]]
    kinds: dict[str, list[Model]]

    def every_model(self) -> list[Model]:
        """Return all models, ordered by key."""
        models = [m for parts in self.classes.values() for part in parts.values() for m in part]
        return sorted(models + [m for kind in self.kinds.values() for m in kind], key=lambda model: model.key)

    def find(self, key: str) -> Model:
        """Return the model with a key."""
        return _by_key(self)[key]


@dataclass(frozen=True)
class Subset:
    """A subset: the function that plans its jobs, the one that renders a job, and the columns besides the image."""

    plan: Callable[[World], list[Job]]
    render: Callable[[World, Job, np.random.Generator], Iterator[Row]]
    columns: dict[str, pa.DataType]
    images: tuple[str, ...] = ("image",)

    def schema(self) -> pa.Schema:
        """Return the Arrow schema with the features that `datasets` reads."""
        picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        fields = [(name, picture) for name in self.images] + list(self.columns.items())
        features = {name: {"_type": "Image"} for name in self.images}
        features |= {name: _feature(kind) for name, kind in self.columns.items()}
        return pa.schema(fields).with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def open_world(furniture: Path) -> World:
    """Return the models of the furniture libraries, divided into splits."""
    classes, kinds = group(read_catalogue(furniture))
    return World({label: split(models) for label, models in classes.items()}, kinds)


def render_job(name: str, furniture: str, job: Job) -> list[Row]:
    """Return the rows of one job; the random generator is seeded from the subset and the job only."""
    world = _world(furniture)
    digest = hashlib.sha256(json.dumps([SEED, name, job]).encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    return list(every_subset()[name].render(world, job, rng))


def every_subset() -> dict[str, Subset]:
    """Return all subsets by name: those of this module and of `compositions`."""
    from . import compositions

    return SUBSETS | compositions.SUBSETS


# ------------------------------------------------------------------ natural pictures


def _per_class(part: str, number: int) -> Callable[[World], list[Job]]:
    def plan(world: World) -> list[Job]:
        return [
            (label, models[i % len(models)].key, i)
            for label, parts in world.classes.items()
            for models in [parts[part]]
            for i in range(number)
        ]

    return plan


def _natural_row(world: World, job: Job, rng: np.random.Generator) -> tuple[Row, Setting, Picture]:
    label, key, number = job
    model = world.find(key)
    mesh = load_mesh(model)
    setting, picture = _recognisable(mesh, rng)
    colour = setting.colour or surfaces.main_colour(picture.rgb, picture.mask)
    row = {
        "image": _webp(picture.rgb, f"{_slug(label)}_{number:03d}.webp"),
        "label": label,
        "colour": colour,
        "floor": setting.floor,
        "wall": setting.wall,
        "instance": key,
        "caption": captions.describe(label, colour, setting, mesh.size, rng),
    }
    return row, setting, picture


def _recognisable(mesh: Mesh, rng: np.random.Generator) -> tuple[Setting, Picture]:
    for _ in range(6):
        setting = natural(mesh, rng)
        picture = studio().shoot(setting.scene)
        if picture.mask.mean() > scenes.SMALLEST_MASK:
            break
    return setting, picture


NATURAL = {name: pa.string() for name in ("label", "colour", "floor", "wall", "instance", "caption")}


def _render_plain(world: World, job: Job, rng: np.random.Generator) -> Iterator[Row]:
    yield _natural_row(world, job, rng)[0]


def _render_id(world: World, job: Job, rng: np.random.Generator) -> Iterator[Row]:
    row, setting, picture = _natural_row(world, job, rng)
    metres = max(world.find(job[1]).size)
    yield row | _geometry(setting.scene.camera, picture.depth, metres)


GEOMETRY = {"metres_per_unit": pa.float32(), "intrinsics": pa.list_(pa.float32()), "pose": pa.list_(pa.float32())}


def _geometry(camera: Camera, depth: NDArray[np.float32], metres: float) -> Row:
    """Return depth in millimetres as a 16-bit PNG, K, and the world-to-camera matrix in metres, both row by row."""
    pose = extrinsics(camera)
    pose[:3, 3] *= metres
    return {
        "depth": _png(np.clip(depth * metres * 1000 + 0.5, 0, 65535).astype(np.uint16)),
        "metres_per_unit": metres,
        "intrinsics": intrinsics(camera, SIZE).ravel().tolist(),
        "pose": pose.ravel().tolist(),
    }


# ------------------------------------------------------------------ factors


def _plan_factors(world: World) -> list[Job]:
    labels = list(world.classes)
    jobs = []
    for i in range(72):
        label = labels[i % len(labels)]
        models = world.classes[label]["test"]
        jobs.append((label, models[i // len(labels) % len(models)].key, i))
    return jobs


def _render_factors(world: World, job: Job, rng: np.random.Generator) -> Iterator[Row]:
    label, key, number = job
    mesh = load_mesh(world.find(key))
    setting, base = _recognisable(mesh, rng)
    props = _props(world, label, key)
    blank = dict.fromkeys(FACTORS, False)

    def row(rgb: NDArray[np.uint8], factor: str) -> Row:
        name = f"{number:03d}_{_slug(label)}_{factor or 'base'}.webp"
        flags = blank | ({factor: True} if factor else {})
        return {"image": _webp(rgb, name), "label": label, "scene": number, "factor": factor, "instance": key} | flags

    yield row(base.rgb, "")
    for factor, change in scenes.CHANGES.items():
        yield row(_changed(setting, change, rng, props, blocks=factor.endswith("_blocking")).rgb, factor)
    yield row(styles.styled(base, rng), "style")


def _changed(
    setting: Setting, change: scenes.Change, rng: np.random.Generator, props: Props, *, blocks: bool
) -> Picture:
    """Return the render of a changed scene.

    A blocking object is placed again until the share that it hides is in BLOCKED; after 14 tries the best one is taken.
    """
    best: tuple[float, Picture] | None = None
    for _ in range(14 if blocks else 1):
        picture = studio().shoot(change(setting, rng, props))
        if not blocks or BLOCKED[0] <= picture.hidden_share <= BLOCKED[1]:
            return picture
        distance = abs(picture.hidden_share - sum(BLOCKED) / 2)
        if best is None or distance < best[0]:
            best = (distance, picture)
    return best[1]


def _props(world: World, label: str, key: str) -> Props:
    people = [load_mesh(m) for m in world.classes["person"]["test"]]
    others = [
        load_mesh(parts["test"][0])
        for other, parts in world.classes.items()
        if other in {"chair", "bottle", "lamp", "vase", "box", "potted plant", "cup", "shoe"} - {label}
    ]
    candidates = [m for m in world.classes[label]["test"] + world.classes[label]["validation"] if m.key != key]
    usual = np.median([_proportions(m) for m in world.classes[label]["train"]], axis=0)
    rare = max(candidates, key=lambda m: (np.abs(_proportions(m) - usual).sum(), m.key))
    return Props(people, others, load_mesh(rare))


def _proportions(model: Model) -> NDArray[np.float64]:
    return np.log(np.array(model.size) / max(model.size))


# ------------------------------------------------------------------ shifts


def _render_shift(kind: str) -> Callable[[World, Job, np.random.Generator], Iterator[Row]]:
    def render(world: World, job: Job, rng: np.random.Generator) -> Iterator[Row]:
        label, key, number = job
        setting, picture = _recognisable(load_mesh(world.find(key)), rng)
        if kind == "line":
            rgb = styles.line_drawing(picture)
        elif kind == "cartoon":
            rgb = styles.cartoon(picture)
        else:
            change = scenes.night if kind == "night" else scenes.clutter
            rgb = studio().shoot(change(setting, rng, _props(world, label, key))).rgb
        yield {"image": _webp(rgb, f"{_slug(label)}_{number:03d}.webp"), "label": label, "instance": key}

    return render


# ------------------------------------------------------------------ cue conflict

CUES = ("bookcase", "car", "shoe", "person", "bottle", "window", "radiator", "cup")
"""Classes that can be recognised in a tiled picture, and whose surface can be replaced (not plants)."""


def _plan_conflict(_: World) -> list[Job]:
    return [(shape, texture, i) for shape, texture in permutations(CUES, 2) for i in range(4)]


def _render_conflict(world: World, job: Job, rng: np.random.Generator) -> Iterator[Row]:
    shape, texture, number = job
    models = world.classes[shape]["test"]
    model = models[number % len(models)]
    mesh = load_mesh(model)
    skin = _skin(world, texture, number)
    for _ in range(6):
        setting = natural(mesh, rng, tint_share=0)
        first = replace(setting.scene.objects[0], skin=skin, skin_scale=1.5)
        picture = studio().shoot(replace(setting.scene, objects=(first,)))
        if picture.mask.mean() > 0.06:
            break
    name = f"{_slug(shape)}{number}-{_slug(texture)}{number}.webp"
    yield {"image": _webp(picture.rgb, name), "label": shape, "shape": shape, "texture": texture, "instance": model.key}


@cache
def _skin(world: World, label: str, number: int) -> NDArray[np.uint8]:
    """Return a 64 x 64 tile that shows a whole object of a class, for surfaces that repeat it."""
    models = world.classes[label]["test"] + world.classes[label]["train"]
    mesh = load_mesh(models[number % len(models)])
    rng = np.random.default_rng([SEED, number, CUES.index(label)])
    picture = studio().shoot(natural(mesh, rng, tint_share=0, azimuth=30).scene)
    rows, columns = np.nonzero(picture.mask)
    rgb = picture.rgb.astype(np.float32)
    rgb[~picture.mask] = np.clip(rgb[picture.mask].mean(axis=0) * 0.25 + 185, 0, 255)
    crop = rgb[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.uint8)
    return np.asarray(Image.fromarray(crop).resize((64, 64), Image.Resampling.BICUBIC))


# ------------------------------------------------------------------ out of distribution


def _plan_near(world: World) -> list[Job]:
    return [(kind, models[i % len(models)].key, i) for kind, models in world.kinds.items() for i in range(6)]


def _render_near(world: World, job: Job, rng: np.random.Generator) -> Iterator[Row]:
    kind, key, number = job
    _, picture = _recognisable(load_mesh(world.find(key)), rng)
    yield {"image": _webp(picture.rgb, f"{_slug(kind)}_{number:03d}.webp"), "label": kind, "instance": key}


FAR_KINDS = ("pattern", "material", "floor", "noise", "symbol", "empty room")


def _render_far(world: World, job: Job, rng: np.random.Generator) -> Iterator[Row]:
    kind, number = job
    if kind == "pattern":
        rgb = surfaces.pattern(surfaces.PATTERNS[number % len(surfaces.PATTERNS)], rng, SIZE)
    elif kind == "material":
        rgb = surfaces.material(surfaces.MATERIALS[number % len(surfaces.MATERIALS)], rng, SIZE)
    elif kind == "floor":
        rgb = surfaces.floor(surfaces.FLOORS[number % len(surfaces.FLOORS)], rng, SIZE)
    elif kind == "noise":
        layers = [surfaces.noise(rng, SIZE, ((4, 8), (8, 16, 32), (64, 128))[number % 3]) for _ in range(3)]
        rgb = np.clip(127 + 260 * np.stack(layers, -1), 0, 255).astype(np.uint8)
    elif kind == "symbol":
        rgb = _symbol(rng)
    else:
        mesh = load_mesh(world.classes["box"]["test"][0])
        setting = natural(mesh, rng)
        rgb = studio().shoot(replace(setting.scene, objects=())).rgb
    yield {"image": _webp(rgb, f"{_slug(kind)}_{number:03d}.webp"), "label": kind, "instance": ""}


def _symbol(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return an arrow, cross, star, ring or polygon in flat colours."""
    inks = [tuple(int(255 * c) for c in surfaces.COLOURS[name]) for name in surfaces.COLOURS]
    paper, ink = (inks[i] for i in rng.choice(len(inks), 2, replace=False))
    side = SIZE * 4
    image = Image.new("RGB", (side, side), paper)
    draw = ImageDraw.Draw(image)
    centre, reach, turn = side / 2, side * rng.uniform(0.25, 0.42), rng.uniform(0, 2 * np.pi)

    def ring(radii: list[float]) -> list[tuple[float, float]]:
        angles = turn + np.arange(len(radii)) * 2 * np.pi / len(radii)
        return [(centre + r * np.cos(a), centre + r * np.sin(a)) for r, a in zip(radii, angles, strict=True)]

    kind = rng.integers(5)
    if kind == 0:
        draw.polygon(ring([reach, reach * 0.4] * 5), fill=ink)
    elif kind == 1:
        draw.polygon(ring([reach] * int(rng.integers(3, 9))), fill=ink)
    elif kind == 2:
        draw.ellipse([centre - reach, centre - reach, centre + reach, centre + reach], outline=ink, width=side // 12)
    elif kind == 3:
        for x, y in ring([reach] * 4):
            draw.line([(centre, centre), (x, y)], fill=ink, width=side // 10)
    else:
        tip, *tail = ring([reach, reach * 0.35, reach * 0.9, reach * 0.35])
        draw.line([tip, tail[1]], fill=ink, width=side // 14)
        draw.polygon([tip, tail[0], tail[2]], fill=ink)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.LANCZOS))


# ------------------------------------------------------------------ the list


def studio() -> Studio:
    """Return the studio of this process."""
    return _studio()


@cache
def _studio() -> Studio:
    return Studio(SIZE)


@cache
def _world(furniture: str) -> World:
    return open_world(Path(furniture))


_INDEX: dict[int, dict[str, Model]] = {}


def _by_key(world: World) -> dict[str, Model]:
    if id(world) not in _INDEX:
        _INDEX[id(world)] = {model.key: model for model in world.every_model()}
    return _INDEX[id(world)]


def _webp(rgb: NDArray[np.uint8], name: str) -> Row:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "WEBP", quality=QUALITY, method=6)
    return {"bytes": buffer.getvalue(), "path": name}


def _png(depth: NDArray[np.uint16]) -> Row:
    buffer = io.BytesIO()
    Image.fromarray(depth).save(buffer, "PNG", optimize=True)
    return {"bytes": buffer.getvalue(), "path": "depth.png"}


def _slug(label: str) -> str:
    return label.replace(" ", "_").replace(":", "")


def _feature(kind: pa.DataType) -> Row:
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    names = {"float": "float32", "double": "float64"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}


PLAIN = {"label": pa.string(), "instance": pa.string()}
FLAGS = dict.fromkeys(FACTORS, pa.bool_())

SUBSETS: dict[str, Subset] = {
    "train": Subset(_per_class("train", 420), _render_plain, NATURAL),
    "validation": Subset(_per_class("validation", 20), _render_plain, NATURAL),
    "id": Subset(_per_class("test", 16), _render_id, NATURAL | GEOMETRY, images=("image", "depth")),
    "factors": Subset(_plan_factors, _render_factors, PLAIN | {"scene": pa.int32(), "factor": pa.string()} | FLAGS),
    **{
        f"shift_{kind}": Subset(_per_class("test", 10), _render_shift(kind), PLAIN)
        for kind in ("line", "cartoon", "night", "clutter")
    },
    "cue_conflict": Subset(_plan_conflict, _render_conflict, PLAIN | {"shape": pa.string(), "texture": pa.string()}),
    "ood_near": Subset(_plan_near, _render_near, PLAIN),
    "ood_far": Subset(lambda _: [(kind, i) for kind in FAR_KINDS for i in range(40)], _render_far, PLAIN),
}
