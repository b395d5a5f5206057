"""Words of hundreds of letters, such as a key or an image in base64, which take quadratic time to be broken."""

import re
from xml.etree.ElementTree import Element

# Not of scripts that are written without blanks: their lines end by rules of their own.
LONG = re.compile(r"[^\s\u200b\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\uabff\uf900-\ufaff]{301,}")
PIECE = re.compile(r".{5}(?=.)")
BREAK = "\N{ZERO WIDTH SPACE}"
NO_TEXT = frozenset({"style", "script", "title"})


def allow_breaks(root: Element) -> None:
    """Allow a line to end after each 5 letters of such words, wherever they are in a document."""
    for element in root.iter():
        if element.text and element.tag not in NO_TEXT:
            element.text = LONG.sub(_broken, element.text)
        if element.tail:
            element.tail = LONG.sub(_broken, element.tail)


def _broken(word: re.Match[str]) -> str:
    return PIECE.sub(rf"\g<0>{BREAK}", word.group())
