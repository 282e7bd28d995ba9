"""Files of repositories at a revision, and the errors of the hub as one line; the hub's client is replaced."""

from __future__ import annotations

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from pytest_clip_robust.system import hub
from pytest_clip_robust.system.hub import HubError, cached_or_fetched, files_of


@pytest.fixture
def online(monkeypatch):
    monkeypatch.setattr(hub, "reachable", lambda: True)


def client(monkeypatch, *, cached=(), error=None):
    """Replace the download: files in `cached` are on this machine, and the hub has all others unless it fails."""
    asked = []

    def download(repository, file, *, revision=None, local_files_only=False):
        asked.append((repository, file, revision, local_files_only))
        if local_files_only and file not in cached:
            raise LocalEntryNotFoundError("not cached")
        if not local_files_only and error is not None:
            raise error
        return f"/cache/{file}"

    monkeypatch.setattr(hub, "hf_hub_download", download)
    return asked


def test_the_cache_and_the_hub_are_asked_for_the_revision(monkeypatch, online):
    asked = client(monkeypatch)
    assert str(cached_or_fetched("org/repo", ["config.json"], revision="v2")) == "/cache/config.json"
    assert asked == [("org/repo", "config.json", "v2", True), ("org/repo", "config.json", "v2", False)]


def test_a_cached_file_is_used_without_the_hub(monkeypatch):
    monkeypatch.setattr(hub, "reachable", lambda: pytest.fail("the hub was asked"))
    assert client(monkeypatch, cached=["b"]) == []
    assert cached_or_fetched("org/repo", ["a", "b"]).name == "b"


@pytest.mark.parametrize(
    ("error", "revision", "message"),
    [
        (RepositoryNotFoundError, None, "the hub has no repository org/repo, or it requires"),
        (RevisionNotFoundError, "v9", "has no repository org/repo with revision 'v9', or it"),
    ],
)
def test_what_the_hub_does_not_have_is_named(monkeypatch, online, error, revision, message):
    client(monkeypatch, error=error.__new__(error))  # the constructor needs the response of an HTTP client
    with pytest.raises(HubError, match=message):
        cached_or_fetched("org/repo", ["config.json"], revision=revision)


def test_the_files_of_a_repository_are_those_of_the_revision(monkeypatch, online):
    def list_files(_, repository, *, revision):
        assert (repository, revision) == ("org/repo", "v2")
        return ["config.json", "model.safetensors"]

    monkeypatch.setattr(hub.HfApi, "list_repo_files", list_files)
    assert files_of("org/repo", revision="v2") == ["config.json", "model.safetensors"]


def test_a_listing_that_fails_is_one_line(monkeypatch, online):
    def list_files(*_, **__):
        raise OSError("connection\nreset")

    monkeypatch.setattr(hub.HfApi, "list_repo_files", list_files)
    with pytest.raises(HubError, match=r"listing the files of org/repo failed \(connection reset\)"):
        files_of("org/repo")


def test_without_the_hub_files_are_not_listed(monkeypatch):
    monkeypatch.setattr(hub, "reachable", lambda: False)
    with pytest.raises(HubError, match=r"org/repo is not completely cached, and the hub at .* cannot be reached"):
        files_of("org/repo")
