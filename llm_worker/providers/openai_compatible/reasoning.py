"""What a model thinks before it answers, where its server leaves that in the text: no part of the answer. Pure.

It stands at the beginning between marks that belong to the model's template. A chat may ask for other tags, as
`<thinking>`: those are its own.
"""

import re

from pydantic_core import from_json

MARKS = {
    "<think>": "</think>",  # DeepSeek, Qwen and most others
    "[THINK]": "[/THINK]",  # Magistral
    "◁think▷": "◁/think▷",  # Kimi
    "<seed:think>": "</seed:think>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|channel|>analysis<|message|>": "<|start|>assistant<|channel|>final<|message|>",  # gpt-oss
}
LONGEST = max(map(len, MARKS.values()))
# Some templates write the opening mark into the prompt, so that only the other one comes back.
UNOPENED = re.compile(r"</think>(?=\s*(?:\n|$|[{\[]))|\[/THINK\](?=\s*(?:\n|$|[{\[]))|◁/think▷")


def answer_in(text: str) -> str:
    """Leave the reasoning out of a whole text. All of a text is reasoning whose marks are not closed."""
    answer = AnswerFilter()
    said = answer.feed(text) + answer.end()
    found = UNOPENED.search(said)
    if not found or _is_whole(text[: len(text) - len(said)]) or _is_json(said):
        return said
    before, after = said[: found.start()], said[found.end() :].lstrip()
    quoted = any(mark in before for mark in MARKS) or before.count("```") % 2
    # Templates let the mark stand on a line of its own; a sentence may end with it.
    ends_a_sentence = not after and before.rpartition("\n")[2].strip()
    return said if quoted or ends_a_sentence else after


def _is_whole(thought: str) -> bool:
    """Tell whether reasoning was there, and closed as often as it was opened."""
    opened = {opening: thought.count(opening) for opening in MARKS}
    return any(opened.values()) and all(opened[opening] <= thought.count(closing) for opening, closing in MARKS.items())


def _is_json(text: str) -> bool:
    try:
        from_json(text)
    except ValueError:
        return False
    return True


class AnswerFilter:
    """Lets the answer pass, piece by piece, and holds back what may be the beginning of reasoning."""

    def __init__(self) -> None:
        self._held = ""
        self._closing: str | None = None  # the mark that is waited for
        self._thought = False
        self._answering = False

    def feed(self, text: str) -> str:
        """Take a piece; gives what of the answer is certain."""
        if self._answering:
            return text
        self._held += text
        while not self._answering and self._step():
            pass
        return self.end() if self._answering else ""

    def end(self) -> str:
        """Give what was held back and is no reasoning after all."""
        held, self._held = self._held, ""
        return "" if self._closing else held.lstrip() if self._thought else held

    def _step(self) -> bool:
        """Move on by one mark; False: more text has to come."""
        if self._closing:
            found = self._held.find(self._closing)
            if found < 0:
                self._held = self._held[-LONGEST:]
                return False
            self._held, self._closing = self._held[found + len(self._closing) :], None
            return True
        begun = self._held.lstrip()
        opening = next((mark for mark in MARKS if begun.startswith(mark)), None)
        if opening:
            self._held, self._closing, self._thought = begun[len(opening) :], MARKS[opening], True
            return True
        self._answering = not any(mark.startswith(begun) for mark in MARKS)
        return False
