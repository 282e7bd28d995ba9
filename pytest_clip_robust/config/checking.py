"""Check of a profile before a run: every file and folder that it names has to exist."""

from __future__ import annotations

from pytest_clip_robust.config.profile import Profile
from pytest_clip_robust.datasets.checking import check_entry
from pytest_clip_robust.datasets.images.cue_names import find_decisions
from pytest_clip_robust.prompts import corpus, templates


def check_profile(profile: Profile) -> None:
    """Check the paths of all sets that have a role, and of prompts, observers and negative labels.

    A run of hours must not end with a misspelt path in its last test. Nothing heavy is imported or read.

    Raises:
        ClipRobustError: one of them does not exist; the message names it.
    """
    names = dict.fromkeys(name for of_role in profile.roles.values() for name in of_role)
    for name in names:
        check_entry(profile.data[name])
    for source in (profile.prompts, *profile.compared_prompts):
        if source not in templates.BUILT_IN:
            templates.prompt_set(source)
    if profile.negatives not in corpus.BUILT_IN:
        corpus.corpus(profile.negatives)
    for name in profile.sets("cue_conflict"):
        find_decisions(profile.observers.get(name, ()))
