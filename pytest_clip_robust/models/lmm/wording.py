"""The text of a question with its image, as a model was trained to see it, and the tokens of answers behind it.

The tokens of an answer are those that it has behind the question: question and answer are tokenised together. An answer
that would change the tokens of its question is an error, since no pass over the question alone could be used for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from pytest_clip_robust.errors import DataError, ModelError, shown
from pytest_clip_robust.models.lmm.families import Family
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line

NO_TEMPLATE = "has no chat template: copy chat_template.jinja from the model that it was trained from"
REMEMBERED = 16
"""For how many questions with their candidates the tokens are kept: usually all images are asked the same one."""


class Asked(NamedTuple):
    """One question as text, with the mark of its image.

    prompt: what the model answers. border: the prompt up to where answers begin, which is the prompt without spaces at
    its end. gap: what is between border and answer, ``""`` or spaces.
    """

    prompt: str
    border: str
    gap: str


class Wording:
    """Words questions for one model.

    note: a remark for the run's header, or ``""``.
    """

    def __init__(self, processor: Any, family: Family, *, language: str, where: str) -> None:
        """Find out how to ask; `language` is the ``model_type`` of the language model, and `where` begins messages.

        Raises:
            ModelError: the processor has no chat template, and the family's own form is not known.
        """
        self._processor, self._tokenizer, self._where = processor, processor.tokenizer, where
        self._ending, self._mark = family.ending, str(getattr(processor, family.mark, "") or "")
        self._template = _template(processor)
        self._form = "" if self._template else family.forms.get(language, family.forms.get("", ""))
        if not self._mark:
            raise ModelError(f"{where}: its processor has no {family.mark}, so the place of the image is not known")
        if not self._template and not self._form:
            raise ModelError(f"{where}: {family.name} with language model {language!r} {NO_TEMPLATE}")
        self.note = f"no chat template: asked as {self._form!r}, the form of {family.name}" if self._form else ""
        self._special = {number: str(token) for number, token in _special_tokens(self._tokenizer)}
        self._answers = lru_cache(maxsize=REMEMBERED)(self._tokenised)

    def ask(self, question: str) -> Asked:
        """Return `question` about one image as the model was trained to see it.

        Raises:
            DataError: the question is empty or contains a special token.
            ModelError: the chat template fails, or does not place exactly one image.
        """
        self._check_text(question, "question")
        prompt = self._form.format(question=question) if self._form else self._rendered(question)
        if (marks := prompt.count(self._mark)) != 1:
            raise ModelError(
                f"{self._where}: its chat template writes {marks} times {self._mark!r} for one image: it is a template "
                "for texts alone, or of another model; copy chat_template.jinja from the model that it was trained from"
            )
        border = prompt.rstrip(" ")
        closed = border.endswith(("\n", *self._special.values())) or bool(self._ending)
        return Asked(prompt, border, prompt[len(border) :] or ("" if closed else " "))

    def answers(self, asked: Asked, candidates: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the tokens of each candidate behind a question; white space around a candidate does not count.

        Raises:
            DataError: a candidate is empty, contains a special token, or would change the tokens of the question.
        """
        return list(self._answers(asked, tuple(candidates)))

    def check_question(self, asked: Asked, tokens: Sequence[int]) -> None:
        """Check that the processor's tokens of a question end with those that answers were tokenised with.

        Raises:
            ModelError: they do not.
        """
        own = self._tokens([asked.border + self._ending])[0]
        last = max((place for place, number in enumerate(own) if number in self._special), default=-1)
        text = list(own[last + 1 :])
        if text and list(tokens[-len(text) :]) != text:
            raise ModelError(
                f"{self._where}: its processor tokenises {shown(asked.border)} differently than its tokenizer does, so "
                "the tokens of an answer are not known"
            )

    def starts_itself(self, text: str) -> bool:
        """Return whether a prompt has its start token in it, so that the tokenizer must not add another."""
        start = self._tokenizer.bos_token
        return bool(start) and text.startswith(start)

    def _rendered(self, question: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": question}]
        chat = [{"role": "user", "content": content}]
        try:
            with quiet():
                prompt = self._processor.apply_chat_template(
                    chat, chat_template=self._template, add_generation_prompt=True, tokenize=False
                )
        except Exception as error:  # templates are code, and raise errors of many kinds
            raise ModelError(
                f"{self._where}: its chat template cannot be used: {type(error).__name__}: {one_line(error)}"
            ) from error
        return str(prompt)

    def _check_text(self, text: str, what: str) -> None:
        if not text.strip():
            raise DataError(f"{self._where}: {what} {text!r} is empty")
        if found := next((token for token in self._special.values() if token in text), ""):
            raise DataError(f"{self._where}: {what} {shown(text)} contains {found!r}, a special token of the model")

    def _tokenised(self, asked: Asked, candidates: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
        for candidate in candidates:
            self._check_text(candidate, "candidate")
        question = asked.border + self._ending
        before, *joined = self._tokens([question, *(f"{question}{asked.gap}{one.strip()}" for one in candidates)])
        for candidate, tokens in zip(candidates, joined, strict=True):
            if tokens[: len(before)] != before or len(tokens) == len(before):
                raise DataError(
                    f"{self._where}: candidate {shown(candidate)} changes the tokens of the question before it; write "
                    "the candidate or the end of the question in another way"
                )
        return tuple(tokens[len(before) :] for tokens in joined)

    def _tokens(self, texts: list[str]) -> list[tuple[int, ...]]:
        with quiet():  # of texts that are longer than the tokenizer's limit, the model's own limit counts
            found = self._tokenizer(
                texts, add_special_tokens=not self.starts_itself(texts[0]), return_attention_mask=False
            )
        return [tuple(tokens) for tokens in found["input_ids"]]


def _template(processor: Any) -> str:
    """Return the chat template of a processor, or else of its tokenizer, or ``""``."""
    found = getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None) or ""
    return str(found.get("default", "")) if isinstance(found, dict) else str(found)


def _special_tokens(tokenizer: Any) -> list[tuple[int, Any]]:
    return [(number, token) for number, token in tokenizer.added_tokens_decoder.items() if token.special]
