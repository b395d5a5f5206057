"""Exit 0 if WeasyPrint's system libraries and at least one font are here. Imports nothing that needs them."""

import ctypes.util
import shutil
import subprocess
import sys

# As WeasyPrint looks for them; on macOS Homebrew's folder is found by WeasyPrint itself.
LIBRARIES = ("gobject-2.0", "pango-1.0", "pangoft2-1.0", "harfbuzz", "harfbuzz-subset", "fontconfig")


def missing() -> list[str]:
    """List what can't be loaded."""
    if sys.platform == "darwin":
        return [] if shutil.which("pango-view") else ["pango"]
    absent = [name for name in LIBRARIES if not _loads(name)]
    return absent or ([] if _has_font() else ["a font"])


def _loads(name: str) -> bool:
    suffix = "1" if name == "fontconfig" else "0"
    try:
        ctypes.CDLL(f"lib{name}.so.{suffix}")
    except OSError:
        return bool(ctypes.util.find_library(name))
    return True


def _has_font() -> bool:
    fc_list = shutil.which("fc-list")
    if not fc_list:
        return False
    return bool(subprocess.run([fc_list], capture_output=True, check=False).stdout)  # noqa: S603


if __name__ == "__main__":
    raise SystemExit(1 if missing() else 0)
