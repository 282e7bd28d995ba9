from __future__ import annotations

import pytest
from stored import write_files

from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.corrupted_folders import check_same_images, corrupted_entry, corrupted_kinds
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.errors import DataError


@pytest.fixture
def entry(tmp_path, png):
    """Make a folder as ImageNet-3DCC's, with a group of kinds in it as ImageNet-C's."""
    for kind, severities in (("fog_3d", (1, 3)), ("blur/defocus_blur", (1, 2)), ("notes", ())):
        for severity in severities:
            for label in ("cat", "dog"):
                folder = tmp_path / "set" / kind / str(severity) / label
                folder.mkdir(parents=True)
                (folder / "a.png").write_bytes(png(severity))
    (tmp_path / "set/notes").mkdir()
    return DataEntry(name="cc", location=str(tmp_path / "set"), role="corrupted")


def test_kinds_and_severities_are_found(entry):
    assert corrupted_kinds(entry) == {"fog_3d": (1, 3), "defocus_blur": (1, 2)}


@pytest.mark.parametrize(("kind", "severity"), [("fog_3d", 3), ("defocus_blur", 2)])
def test_each_cell_is_an_image_folder(entry, kind, severity):
    images = load_image_set(corrupted_entry(entry, kind, severity))
    assert images.name == f"cc.{kind}.{severity}"
    assert images.class_names == ("cat", "dog")
    assert list(images.samples) == ["cat/a.png", "dog/a.png"]


@pytest.mark.parametrize(
    ("kind", "severity", "message"),
    [("fog_3d", 2, "no severity 2 of 'fog_3d'"), ("fog3d", 1, "'fog3d' in .*did you mean 'fog_3d'")],
)
def test_what_is_not_there_is_named(entry, kind, severity, message):
    with pytest.raises(DataError, match=message):
        corrupted_entry(entry, kind, severity)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="has no folders KIND/SEVERITY/CLASS/IMAGE"):
        corrupted_kinds(DataEntry(name="cc", location=str(tmp_path)))


def test_two_kinds_of_one_name_are_refused(entry, tmp_path, png):
    write_files(tmp_path / "set", {"noise/fog_3d/1/cat/a.png": png(1)})
    with pytest.raises(DataError, match="are both called 'fog_3d'; rename one"):
        corrupted_kinds(entry)


def test_files_of_tools_are_no_kinds(entry, tmp_path, png):
    write_files(tmp_path / "set", {".cache/fog_3d/1/cat/a.png": png(1), "@eaDir/1/cat/a.png": png(1)})
    assert set(corrupted_kinds(entry)) == {"fog_3d", "defocus_blur"}


def test_severities_of_one_kind_have_the_same_images(entry, tmp_path, png):
    def cells():
        return [load_image_set(corrupted_entry(entry, "fog_3d", severity)) for severity in (1, 3)]

    check_same_images(cells())
    write_files(tmp_path / "set", {"fog_3d/3/cat/b.png": png(1)})
    with pytest.raises(
        DataError, match=r"'cc.fog_3d.1' and 'cc.fog_3d.3' do not have the same images, .* 'cat/b': 2 and 3"
    ):
        check_same_images(cells())
    (tmp_path / "set/fog_3d/3/cat/a.png").unlink()
    with pytest.raises(DataError, match="do not have the same images, such as 'cat/a': 2 and 2 images"):
        check_same_images(cells())
