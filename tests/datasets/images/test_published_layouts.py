"""The public sets of images in the layouts in which their authors publish them, through the catalogue's entries."""

from __future__ import annotations

import json

import pytest
from stored import write_files

from pytest_clip_robust.datasets.catalog import catalog
from pytest_clip_robust.datasets.entry import merge, parse_data_option
from pytest_clip_robust.datasets.images.corrupted_folders import corrupted_entry, corrupted_kinds
from pytest_clip_robust.datasets.images.counting import count_images
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.errors import DataError

README = {"README.txt": "a set of images"}
OOD = ["inaturalist", "sun", "places", "textures", "openimage-o", "ninco", "ssb-hard", "imagenet-o"]


@pytest.fixture
def published(tmp_path, png):
    """Write images and other files below a folder; return it."""

    def write(*images, folder="set", **others):
        root = tmp_path / folder
        write_files(root, {image: png(i) for i, image in enumerate(images)} | others)
        return root

    return write


@pytest.fixture
def load_named(tmp_path):
    """Load a set of the catalogue from a local copy."""

    def load(name, location, query=""):
        entry = entry_at(name, location, query)
        return load_image_set(entry, cache_dir=tmp_path / "cache", prompted=entry.role != "ood")

    return load


def entry_at(name, location, query=""):
    return merge(catalog()[name], parse_data_option(f"{name}={location}{query}"))


def classes(found):
    return [found.class_ids[label] for label in found.labels]


def test_imagenets_validation_images_are_in_folders_by_wordnet_id(published, load_named):
    root = published("n01440764/ILSVRC2012_val_00000293.JPEG", "n15075141/ILSVRC2012_val_00001079.JPEG")
    found = load_named("imagenet-1k", root)
    assert found.labels.tolist() == [0, 999]
    assert found.class_names[0] == "tench"
    assert len(found.class_ids) == 1000


def test_imagenet_v2_is_in_folders_by_number(published, load_named):
    root = published(
        "0/a.jpeg", "1/b.jpeg", "10/c.jpeg", "999/d.jpeg", folder="imagenetv2-matched-frequency-format-val"
    )
    assert load_named("imagenet-v2", root).labels.tolist() == [0, 1, 10, 999]


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("imagenet-a", ["n01498041/0.000116_digital clock _ 0.865662.jpg", "n12267677/0.0_acorn _ 0.9.jpg"]),
        ("imagenet-r", ["n01443537/art_0.jpg", "n09835506/tattoo_3.jpg"]),
    ],
)
def test_imagenet_a_and_r_have_200_classes_of_imagenet(published, load_named, name, images):
    found = load_named(name, published(*images, **README))
    assert len(found.class_ids) == 200
    assert classes(found) == [image.partition("/")[0] for image in images]
    imagenet = load_named("imagenet-1k", published("n01440764/a.JPEG", folder="val"))
    assert set(found.class_ids) < set(imagenet.class_ids)


def test_a_class_that_imagenet_r_does_not_have_is_refused(published, load_named):
    with pytest.raises(DataError, match="class 'n01440764' is not among the 200 of imagenet-r"):
        load_named("imagenet-r", published("n01440764/art_0.jpg"))


def test_imagenet_sketch_is_a_folder_of_its_archive(published, load_named):
    found = load_named("imagenet-sketch", published("n01440764/sketch_0.JPEG", folder="sketch"))
    assert classes(found) == ["n01440764"]


def test_imagenet_x_joins_annotations_to_imagenets_images(published, load_named, tmp_path):
    names = ["ILSVRC2012_val_00000293.JPEG", "ILSVRC2012_val_00002138.JPEG"]
    rows = [{"file_name": name, "class": 0, "pose": i, "smaller": 1 - i} for i, name in enumerate(names)]
    write_files(tmp_path, {"imagenet_x_val_top_factor.jsonl": "\n".join(json.dumps(row) for row in rows)})
    root = published(*(f"n01440764/{name}" for name in names), folder="val")
    query = f"?annotations={tmp_path}/imagenet_x_val_top_factor.jsonl"
    found = load_named("imagenet-x", root, query)
    assert {name: column.tolist() for name, column in found.annotations.items()} == {
        "pose": [False, True],
        "smaller": [True, False],
    }
    counted = count_images(entry_at("imagenet-x", root, query), cache_dir=tmp_path / "cache")
    assert counted == (2, 1000, 1, 2)


LABELS = {"air_freshener": "Air freshener", "alarm_clock": "Alarm clock", "t_shirt": "T-shirt"}
SHARED = {"Alarm clock": "analog clock; digital clock", "T-shirt": "jersey, T-shirt, tee shirt"}


@pytest.fixture
def objectnet(published):
    """Write ObjectNet's archive, with three classes of which ImageNet has two."""

    def write(*images, labels=LABELS, shared=SHARED):
        mappings = {
            "mappings/folder_to_objectnet_label.json": json.dumps(labels),
            "mappings/objectnet_to_imagenet_1k.json": json.dumps(shared),
            "mappings/pytorch_to_imagenet_2012_id.json": "{}",
            "mappings/imagenet_to_label_2012_v2": "tench\n",
            "README": "ObjectNet",
        }
        return published(*(f"images/{image}" for image in images), folder="objectnet-1.0", **mappings)

    return write


def test_objectnet_is_read_with_the_classes_that_imagenet_has(load_named, objectnet):
    root = objectnet("air_freshener/0a.png", "alarm_clock/1b.png", "t_shirt/2c.png", "t_shirt/3d.png")
    found = load_named("objectnet", root)
    assert found.samples == ["images/alarm_clock/1b.png", "images/t_shirt/2c.png", "images/t_shirt/3d.png"]
    assert found.class_names == ("alarm clock", "t-shirt")
    assert found.labels.tolist() == [0, 1, 1]
    assert found.crop_border == 2
    assert found.remarks == ()
    assert count_images(entry_at("objectnet", root)) == (3, 2, 2, 0)


def test_a_part_of_objectnet_says_that_it_is_one(load_named, objectnet):
    found = load_named("objectnet", objectnet("alarm_clock/1b.png"))
    assert found.class_names == ("alarm clock", "t-shirt")
    assert "1 of 2 classes have no image, such as 't_shirt': it is not the whole set" in found.remarks[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shared": {"Ashtray": "x", **SHARED}}, "folder_to_objectnet_label.json has no folder for 'Ashtray'; unpack"),
        ({"shared": ["Alarm clock"]}, r"objectnet_to_imagenet_1k.json does not map names to names"),
        ({"shared": {"Alarm clock": ["a"]}}, r"objectnet_to_imagenet_1k.json does not map names to names"),
        ({"shared": {}}, "no images in"),
    ],
)
def test_damaged_mappings_of_objectnet_are_a_one_line_error(load_named, objectnet, changes, message):
    with pytest.raises(DataError, match=message):
        load_named("objectnet", objectnet("alarm_clock/1b.png", **changes))


def test_a_mapping_of_objectnet_that_is_not_json_is_refused(load_named, objectnet):
    root = objectnet("alarm_clock/1b.png")
    (root / "mappings" / "objectnet_to_imagenet_1k.json").write_text("{")
    with pytest.raises(DataError, match=r"objectnet_to_imagenet_1k.json is not JSON .*; unpack the archive again"):
        load_named("objectnet", root)


def test_objectnet_without_its_mappings_is_refused_if_it_is_asked_for(load_named, published):
    root = published("images/alarm_clock/1b.png", folder="objectnet-1.0")
    with pytest.raises(DataError, match="has no mappings/folder_to_objectnet_label"):
        load_named("objectnet", root, "?format=objectnet")


def test_cue_conflicts_are_in_folders_by_shape(published, load_named):
    root = published(
        "airplane/airplane1-bicycle2.png", "bicycle/bicycle1-airplane3.png", folder="style-transfer-preprocessed-512"
    )
    found = load_named("cue-conflict", root)
    assert [found.class_names[i] for i in (*found.labels, *found.textures)] == [
        "airplane",
        "bicycle",
        "bicycle",
        "airplane",
    ]


@pytest.mark.parametrize(
    ("name", "location", "images"),
    [
        ("inaturalist", "", ["images/0003c26b.jpg", "images/1004d37c.jpg"]),
        ("sun", "", ["images/sun_aaalbzqrimafwbiv.jpg", "images/sun_bbb.jpg"]),
        ("places", "", ["images/b_badlands_00000001.jpg", "images/b_bamboo_forest_00000002.jpg"]),
        ("textures", "images", ["images/banded/banded_0002.jpg", "images/zigzagged/zigzagged_0001.jpg"]),
        ("openimage-o", "", ["images/00a1b2.jpg", "images/00c3d4.jpg"]),
        ("ninco", "NINCO_OOD_classes", ["NINCO_OOD_classes/amphiuma_means/a.jpg", "NINCO_OOD_classes/caracal/b.jpg"]),
        ("ssb-hard", "", ["n00470682/n00470682_1.JPEG", "n15102455/n15102455_2.JPEG"]),
        ("imagenet-o", "", ["n01443537/0.1_goldfish.JPEG", "n12267677/0.2_acorn.JPEG"]),
    ],
)
def test_ood_sets_are_read_without_a_list_of_classes(published, load_named, tmp_path, name, location, images):
    root = published(*images, **README)
    found = load_named(name, root / location)
    assert len(found) == 2
    by_class = name in {"textures", "ninco", "ssb-hard", "imagenet-o"}
    assert len(set(found.labels.tolist())) == (2 if by_class else 1)
    assert count_images(entry_at(name, root / location), cache_dir=tmp_path / "cache", prompted=False).images == 2


@pytest.mark.parametrize(
    ("name", "images", "kinds"),
    [
        (
            "imagenet-c",
            [
                "blur/defocus_blur/1/n01440764/a.JPEG",
                "blur/defocus_blur/2/n01440764/a.JPEG",
                "noise/shot_noise/5/n01440764/a.JPEG",
            ],
            {"defocus_blur": (1, 2), "shot_noise": (5,)},
        ),
        (
            "imagenet-3dcc",
            ["fog_3d/1/n01440764/a.JPEG", "near_focus/3/n01440764/a.JPEG"],
            {"fog_3d": (1,), "near_focus": (3,)},
        ),
    ],
)
def test_corrupted_sets_are_read_by_kind_and_severity(published, tmp_path, name, images, kinds):
    entry = entry_at(name, published(*images))
    assert corrupted_kinds(entry) == kinds
    kind, (severity, *_) = next(iter(kinds.items()))
    found = load_image_set(corrupted_entry(entry, kind, severity), cache_dir=tmp_path / "cache")
    assert found.labels.tolist() == [0]
    assert len(found.class_ids) == 1000


def test_every_public_set_says_where_to_get_it_and_its_licence():
    public = {name: entry for name, entry in catalog().items() if not name.startswith("showroom")}
    assert set(OOD) <= set(public)
    for name, entry in public.items():
        assert entry.licence, name
        assert entry.role, name
        assert entry.hint or entry.location, name
