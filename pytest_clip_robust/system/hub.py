"""The hub: asked only for what the cache lacks, and known to be out of reach in seconds instead of a minute."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

from pytest_clip_robust.system.text import one_line

PATIENCE_SECONDS = 10


class HubError(Exception):
    """The hub is out of reach, or has not what was asked for; the message says which."""


def cached_or_fetched(repository: str, files: Iterable[str]) -> Path:
    """Return the first of `files` of a model repository that the cache has, or else the hub.

    Raises:
        HubError: neither has one of them, or the hub cannot be reached.
    """
    wanted = list(files)
    for file in wanted:
        try:
            return Path(hf_hub_download(repository, file, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
        except HFValidationError as error:
            raise HubError(one_line(error)) from error
    if not reachable():
        raise HubError(f"{repository} is not cached, and the hub at {constants.ENDPOINT} cannot be reached")
    for file in wanted:
        try:
            return Path(hf_hub_download(repository, file))
        except RepositoryNotFoundError as error:
            raise HubError(f"the hub has no repository {repository}, or it wants a login") from error
        except LocalEntryNotFoundError as error:
            raise HubError(f"{repository} is not cached, and fetching it failed ({one_line(error)})") from error
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError) as error:
            raise HubError(f"fetching {repository}/{file} failed ({one_line(error)})") from error
    raise HubError(f"{repository} has none of {', '.join(wanted)}")


@cache
def reachable() -> bool:
    """Tell whether the hub answers at all; asked once, as its client retries every file for half a minute."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE_SECONDS)
    except Exception:  # noqa: BLE001 - whatever the HTTP client of the day raises
        return False
    return True
