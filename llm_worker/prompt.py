"""Parts of prompts: instructions are ours, users' texts are data between marks they can't forge."""

from shared.catalog.llm import Message


def system(text: str) -> Message:
    return Message(role="system", content=text)


def user(*parts: str) -> Message:
    return Message(role="user", content="\n\n".join(parts))


def marked(name: str, text: str) -> str:
    """Put `text` between tags called `name`, or a longer name if the text holds that tag itself."""
    while f"<{name}>" in text or f"</{name}>" in text:
        name += "_"
    return f"<{name}>\n{text}\n</{name}>"
