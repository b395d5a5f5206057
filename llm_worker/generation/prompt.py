"""Parts of prompts: instructions are ours, users' texts are data between marks they can't forge."""

import hashlib

from tandem.shared.tasks.catalog.llm import Message


def system(text: str) -> Message:
    return Message(role="system", content=text)


def user(*parts: str) -> Message:
    return Message(role="user", content="\n\n".join(parts))


def delimited(name: str, text: str) -> str:
    """Put `text` between tags that it can't hold: their name ends with a hash of the text."""
    tag = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return f"<{tag}>\n{text}\n</{tag}>"
