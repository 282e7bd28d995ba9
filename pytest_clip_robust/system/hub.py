"""Files from the Hugging Face hub: from its local cache if possible, and with a quick check that it can be reached."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

from pytest_clip_robust.system.text import one_line

TIMEOUT_SECONDS = 10

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
"""Environment variables that forbid the hub; the hub's own client reads them when it is imported."""
TRUE = ("1", "ON", "YES", "TRUE")

constants.HF_HUB_DISABLE_TELEMETRY = True  # a run tells no one what it measures


class HubError(Exception):
    """The hub cannot be reached, or does not have the file; the message says which."""


def cached_or_fetched(repository: str, files: Iterable[str], *, revision: str | None = None) -> Path:
    """Return the path of the first of `files` in a model repository that the cache has, otherwise that the hub has.

    `revision` is a branch, tag or commit; None is the main branch.

    Raises:
        HubError: neither has any of the files, or the hub cannot be reached.
    """
    wanted = list(files)
    for file in wanted:
        try:
            return Path(hf_hub_download(repository, file, revision=revision, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
        except HFValidationError as error:
            raise HubError(one_line(error)) from error
    if not reachable():
        raise HubError(f"{repository} is not cached, and the hub at {constants.ENDPOINT} {unreachable()}")
    for file in wanted:
        try:
            return Path(hf_hub_download(repository, file, revision=revision))
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            at = f" with revision {revision!r}" if revision else ""
            raise HubError(f"the hub has no repository {repository}{at}, or it requires a login") from error
        except LocalEntryNotFoundError as error:
            raise HubError(f"{repository} is not cached, and downloading it failed ({one_line(error)})") from error
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError) as error:
            raise HubError(f"downloading {repository}/{file} failed ({one_line(error)})") from error
    raise HubError(f"{repository} has none of {', '.join(wanted)}")


def files_of(repository: str, *, revision: str | None = None) -> list[str]:
    """Return the names of all files that a model repository has on the hub.

    Raises:
        HubError: the hub cannot be reached, or has no such repository or revision.
    """
    if not reachable():
        raise HubError(f"{repository} is not completely cached, and the hub at {constants.ENDPOINT} {unreachable()}")
    try:
        return list(HfApi().list_repo_files(repository, revision=revision))
    except (HfHubHTTPError, OSError) as error:
        raise HubError(f"listing the files of {repository} failed ({one_line(error)})") from error


def unreachable() -> str:
    """Return why the hub is not asked, for messages: a variable forbids it, or it does not answer."""
    variable = next((name for name in OFFLINE if os.environ.get(name, "").upper() in TRUE), "")
    return f"is not asked, since {variable} is set" if variable else "cannot be reached"


@cache
def reachable() -> bool:
    """Return whether the hub answers.

    It is asked once per process, because the hub's client would retry every file for half a minute.
    """
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT_SECONDS)
    except Exception:  # noqa: BLE001 - the exceptions depend on the installed HTTP client
        return False
    return True
