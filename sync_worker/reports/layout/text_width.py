"""How wide text is, in em, before it is laid out: an estimate from above, for any font of our style sheets."""

import unicodedata
from functools import cache

BOLD = 1.1  # times as wide
OTHER = 0.75  # of letters that are not listed, such as Cyrillic ones
WIDE, EMOJI = 1.0, 1.3  # Chinese, Japanese, Korean; pictures
FIRST_EMOJI = 0x1F000
# DejaVu Sans, the widest font of the stack.
GROUPS = {
    0.34: " \N{NO-BREAK SPACE}',./:;IJ\\ijl|",
    0.42: "!()-[]frt",
    0.55: '"*?_`csz',
    0.64: "$0123456789EFLPSTYabdeghknopquvxy{}€£¥",
    0.75: "ABCKNRUVXZ",
    0.84: "#&+<=>DGHOQ^w~\N{MINUS SIGN}",
    0.9: "M",
    1.0: "%@Wm",
}
LISTED = {character: width for width, characters in GROUPS.items() for character in characters}


def measure(text: str) -> float:
    """Give the width of `text` on one line."""
    return sum(map(_character, text))


@cache
def _character(character: str) -> float:
    if character in LISTED:
        return LISTED[character]
    if ord(character) >= FIRST_EMOJI:
        return EMOJI
    if unicodedata.east_asian_width(character) in "WF":
        return WIDE
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Cc"):
        return 0.0
    return LISTED.get(unicodedata.normalize("NFKD", character)[0], OTHER)
