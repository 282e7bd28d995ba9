"""Subsets with more than labels: captioned scenes with hard negatives, posed views, keypoints and questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from . import captions, surfaces
from .mesh import load_mesh
from .scenes import Setting, look_at, natural
from .studio import Placed, extrinsics, intrinsics, model_matrix
from .subsets import GEOMETRY, SIZE, Job, Row, Subset, World, _geometry, _slug, _webp, studio

CAPTIONED = (
    "chair", "table", "sofa", "bed", "lamp", "potted plant", "bottle", "cup",
    "car", "person", "animal", "radiator", "box", "shoe", "door", "washbasin",
)  # fmt: skip
COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "black", "white")
ANGLES = (0, 15, 30, 50, 70, 90, 105, 120)
KEYPOINT_CLASSES = ("chair", "table", "sofa", "bed", "car", "cabinet")
STRINGS = pa.list_(pa.string())


def plan_captions(_: World) -> list[Job]:
    """Return the jobs of scenes with one, two and three objects."""
    return [(1 + i % 3, i) for i in range(120)]


def render_captions(world: World, job: Job, rng: np.random.Generator) -> Iterator[Row]:
    """Render objects side by side or one behind the other, with captions that describe this."""
    count, number = job
    labels = [CAPTIONED[i] for i in rng.choice(len(CAPTIONED), count, replace=False)]
    colours = [COLOURS[i] for i in rng.choice(len(COLOURS), count, replace=False)]
    relation = str(rng.choice(["left", "front"])) if count > 1 else ""
    models = [world.classes[label]["test"] for label in labels]
    meshes = [load_mesh(found[rng.integers(len(found))]) for found in models]
    setting = natural(meshes[0], rng, tint_share=0, azimuth=25)
    right, towards = _axes(setting.azimuth)
    # As seen from the camera: the first is left of or in front of the second, the third is right of both.
    places = {
        "": [0 * right],
        "left": [-0.6 * right, 0.6 * right],
        "front": [0.6 * towards - 0.3 * right, -0.7 * towards + 0.3 * right],
    }
    spots = [*places[relation], *([1.65 * right] if count == 3 else [])]
    middle = np.mean(spots, axis=0)
    objects = tuple(
        Placed(mesh, *map(float, spot - middle), float(rng.uniform(-35, 35)), tint=_colour(colour))
        for mesh, spot, colour in zip(meshes, spots, colours, strict=True)
    )
    elevation = 32 if relation == "front" else 18
    distance, fov = ((2.3, 35), (2.9, 42), (2.9, 56))[count - 1]  # any further away is behind the wall
    camera = look_at(np.array([0, 0.35, 0]), setting.azimuth, elevation, distance, fov)
    picture = studio().shoot(replace(setting.scene, objects=objects, camera=camera))
    things = [f"{colour} {label}" for colour, label in zip(colours, labels, strict=True)]
    absent = [label for label in CAPTIONED if label not in labels]
    other = absent[rng.integers(len(absent))]
    kinds, wrong = _negatives(things, labels, colours, relation, other)
    yield {
        "image": _webp(picture.rgb, f"scene_{number:03d}.webp"),
        "captions": _five(things, relation, setting),
        "objects": labels,
        "colours": colours,
        "relation": relation,
        "negative_kinds": kinds,
        "negatives": wrong,
        "true_caption": _sentence(things, relation),
    }


def _sentence(things: list[str], relation: str, start: str = "a photo of ") -> str:
    words = start + captions.article(things[0])
    if relation:
        words += f" {captions.RELATIONS[relation]} {captions.article(things[1])}"
    return words + (f" and {captions.article(things[2])}" if len(things) > 2 else "")


def _five(things: list[str], relation: str, setting: Setting) -> list[str]:
    where = captions.ground(setting.floor)
    plain = " and ".join(map(captions.article, things))
    found = [
        _sentence(things, relation),
        f"{_sentence(things, relation, '')} {where}",
        f"a rendering of {plain} {where}",
        f"a picture of {plain} in front of a {setting.wall} wall",
    ]
    if relation:
        turned = [things[1], things[0], *things[2:]]
        return [*found, _sentence(turned, captions.OPPOSITE[relation], "there is ")]
    return [*found, f"there is {captions.article(things[0])} {where}"]


def _negatives(
    things: list[str], labels: list[str], colours: list[str], relation: str, other: str
) -> tuple[list[str], list[str]]:
    replaced = [f"{colours[0]} {other}", *things[1:]]
    found = {
        "replaced object": _sentence(replaced, relation),
        "added object": f"{_sentence(things, relation)} and {captions.article(other)}",
    }
    if len(things) > 1:
        swapped = [f"{colours[1]} {labels[0]}", f"{colours[0]} {labels[1]}", *things[2:]]
        found["swapped attribute"] = _sentence(swapped, relation)
        found["swapped relation"] = _sentence(things, captions.OPPOSITE[relation])
    return list(found), list(found.values())


def _axes(azimuth: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two unit vectors on the floor (x, z): to the right of the camera, and towards the camera."""
    a = np.radians(azimuth)
    return np.array([np.cos(a), -np.sin(a)]), np.array([np.sin(a), np.cos(a)])


def _colour(name: str) -> tuple[float, float, float]:
    red, green, blue = surfaces.COLOURS[name]
    return red, green, blue


def plan_views(world: World) -> list[Job]:
    """Return the jobs of camera paths around objects of 14 classes and around rooms."""
    labels = [label for label in world.classes if label not in {"window", "door", "fence", "tree"}]
    objects = [("object", label, i) for i, label in enumerate(labels[:14])]
    return objects + [("room", "", 100 + i) for i in range(4)]


def render_views(world: World, job: Job, rng: np.random.Generator) -> Iterator[Row]:
    """Render one static scene from several angles."""
    kind, label, number = job
    model = world.classes[label or "sofa"]["test"][0]
    setting = natural(load_mesh(model), rng, tint_share=0, azimuth=20)
    scene = setting.scene
    if kind == "room":
        chosen = [CAPTIONED[i] for i in rng.choice(len(CAPTIONED), 5, replace=False)]
        around = [
            Placed(
                load_mesh(world.classes[one]["test"][0]),
                float(1.3 * np.sin(a)),
                float(1.3 * np.cos(a)),
                float(rng.uniform(0, 360)),
            )
            for one, a in zip(chosen, np.linspace(0, 2 * np.pi, 6)[:5] + 0.5, strict=True)
        ]
        scene = replace(scene, objects=(*scene.objects, *around))
    distance = 3.0 if kind == "room" else 2.2
    metres = max(model.size)
    start = setting.azimuth - 60
    for angle in ANGLES:
        camera = look_at(np.array([0, 0.35, 0]), start + angle, 24, distance)
        picture = studio().shoot(replace(scene, camera=camera))
        yield {
            "image": _webp(picture.rgb, f"{kind}_{number:03d}_{angle:03d}.webp"),
            "label": label or "room",
            "scene": number,
            "angle": float(angle),
        } | _geometry(camera, picture.depth, metres)


def plan_keypoints(world: World) -> list[Job]:
    """Return the jobs of three views for up to four instances of each class that resembles a box."""
    return [
        (label, model.key, i)
        for label in KEYPOINT_CLASSES
        for model in world.classes[label]["test"][:4]
        for i in range(3)
    ]


def render_keypoints(world: World, job: Job, rng: np.random.Generator) -> Iterator[Row]:
    """Render a mesh and project its points that are nearest to the corners of its bounding box."""
    label, key, number = job
    mesh = load_mesh(world.find(key))
    setting = natural(mesh, rng, azimuth=60)
    picture = studio().shoot(setting.scene)
    camera, placed = setting.scene.camera, setting.scene.objects[0]
    names, points = corner_points(mesh.points.reshape(-1, 3))
    matrix = extrinsics(camera) @ model_matrix(placed)
    seen = points @ matrix[:3, :3].T + matrix[:3, 3]
    pixels = (seen / seen[:, 2:]) @ intrinsics(camera, SIZE).T
    column, row = (np.clip(pixels[:, i].astype(int), 0, SIZE - 1) for i in (0, 1))
    inside = ((pixels[:, :2] >= 0) & (pixels[:, :2] < SIZE)).all(1)
    near = np.min(
        [
            np.abs(picture.depth[np.clip(row + dy, 0, SIZE - 1), np.clip(column + dx, 0, SIZE - 1)] - seen[:, 2])
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
        ],
        axis=0,
    )
    yield {
        "image": _webp(picture.rgb, f"{_slug(label)}_{key.split('/')[-1]}_{number}.webp"),
        "label": label,
        "instance": key,
        "names": names,
        "x": pixels[:, 0].tolist(),
        "y": pixels[:, 1].tolist(),
        "visible": (inside & (near < 0.03)).tolist(),
    }


def corner_points(points: NDArray[np.float32]) -> tuple[list[str], NDArray[np.float32]]:
    """Return the names of the eight corners of the bounding box and the (8, 3) points furthest towards them."""
    low, high = points.min(0), points.max(0)
    unit = (points - (low + high) / 2) / np.maximum(high - low, 1e-6) * 2
    names, found = [], []
    for x, side in ((-1, "left"), (1, "right")):
        for y, level in ((-1, "bottom"), (1, "top")):
            for z, face in ((-1, "back"), (1, "front")):
                names.append(f"{level} {face} {side}")
                found.append(points[(unit @ np.array([x, y, z])).argmax()])
    return names, np.array(found)


def questions(identities: list[dict[str, Any]], factors: list[dict[str, Any]], rng: np.random.Generator) -> list[Row]:
    """Return questions about the pictures of ``id`` and ``factors``, with four options in random order."""
    labels = sorted({row["label"] for row in identities})
    what, ground = "What is the main object in this picture?", "What is the floor like?"
    colours = [name for name in COLOURS if name != "brown"]  # people call it orange just as often
    asked = [
        *(("id", row, "object", what, row["label"], labels) for row in identities[::2]),
        *(
            ("id", row, "colour", f"What colour is the {row['label']}?", row["colour"], colours)
            for row in identities[1::4]
        ),
        *(("id", row, "floor", ground, row["floor"], list(surfaces.FLOORS)) for row in identities[3::4]),
        *(("factors", row, "object", what, row["label"], labels) for row in factors[::5]),
    ]
    return [_question(*one, rng) for one in asked]


def _question(  # noqa: PLR0917 - a row
    source: str, row: dict[str, Any], kind: str, text: str, answer: str, pool: list[str], rng: np.random.Generator
) -> Row:
    others = [one for one in pool if one != answer]
    options = [others[i] for i in rng.choice(len(others), 3, replace=False)]
    place = int(rng.integers(4))
    options.insert(place, answer)
    return {
        "source": source,
        "sample": row["image"]["path"],
        "kind": kind,
        "question": text,
        "options": options,
        "answer": place,
    }


def schemas_of(*names: str) -> dict[str, pa.DataType]:
    """Return a schema of string columns with these names."""
    return dict.fromkeys(names, pa.string())


SUBSETS = {
    "captions": Subset(
        plan_captions,
        render_captions,
        {"captions": STRINGS, "objects": STRINGS, "colours": STRINGS, "relation": pa.string()}
        | {"true_caption": pa.string(), "negative_kinds": STRINGS, "negatives": STRINGS},
    ),
    "views": Subset(
        plan_views,
        render_views,
        {"label": pa.string(), "scene": pa.int32(), "angle": pa.float32()} | GEOMETRY,
        images=("image", "depth"),
    ),
    "keypoints": Subset(
        plan_keypoints,
        render_keypoints,
        schemas_of("label", "instance")
        | {"names": STRINGS, "x": pa.list_(pa.float32()), "y": pa.list_(pa.float32()), "visible": pa.list_(pa.bool_())},
    ),
}
QUESTIONS = schemas_of("source", "sample", "kind", "question") | {"options": STRINGS, "answer": pa.int32()}
