"""Builds the tokenizer of CLIP once per process: every model of open_clip that a test loads reads its vocabulary."""

from __future__ import annotations

from open_clip.tokenizer import SimpleTokenizer


def build_tokenizers_once() -> None:
    """Make tokenizers with equal arguments share what they read: nothing changes it, and each remains an object."""
    construct = SimpleTokenizer.__init__
    built = {}

    def initialise(self, *arguments, **options):
        key = repr((arguments, sorted(options.items())))
        if key not in built:
            construct(self, *arguments, **options)
            built[key] = dict(vars(self))
        vars(self).update(built[key])

    SimpleTokenizer.__init__ = initialise
