#!/bin/sh
# Makes .venv with the pinned packages of a lock file, and sees to WeasyPrint's system libraries and fonts;
# for requirements-dev.lock also to Chromium, in which tests look at the dashboard, and
# to libfaketime, with which the fault run lets a clock jump.
# Usage: bootstrap.sh LOCKFILE
# As root on Debian or Ubuntu it installs what is missing; elsewhere it prints the command and stops.
set -eu
lock=$1
venv=.venv
stamp=$venv/.installed-from
apt_libraries="libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz0b libharfbuzz-subset0 fontconfig fonts-dejavu-core fonts-liberation"

apt_fonts="fonts-wqy-microhei fonts-noto-color-emoji" # Chinese, Japanese, Korean: 5 MB; emoji: 11 MB

say() { printf '%s\n' "$*" >&2; }
can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }
apt() { DEBIAN_FRONTEND=noninteractive apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }

find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    say "Python 3.11 or newer is needed and was not found; set PYTHON=/path/to/python3."
    exit 1
}

make_venv() {
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        if can_apt; then
            say "installing python$version-venv"
            apt "python$version-venv"
        else
            say "Python's venv module is missing. Install it and try again:"
            say "  sudo apt-get install -y python$version-venv"
            exit 1
        fi
    fi
    "$python" -m venv "$venv"
}

install_packages() {
    say "installing the packages of $lock (once)"
    said=$(mktemp)
    trap 'rm -f "$said"' EXIT
    # The warnings too: by them alone pip tells that it reached nobody.
    if ! "$venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$lock" >/dev/null 2>"$said"; then
        cat "$said" >&2
        explain_failure
        exit 1
    fi
    { grep -v " $lock\$" "$stamp" 2>/dev/null || true; cksum "$lock"; } > "$stamp.new"
    mv "$stamp.new" "$stamp"
}

explain_failure() {
    if grep -qiE 'from versions: none|connection broken|NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError' "$said"; then
        say "The package index can't be reached. Look at the network, a proxy (HTTPS_PROXY) and pip's settings (pip config list)."
    else
        say "The packages could not be installed. If one had to be compiled, it needs a compiler and Python's headers:"
        say "  sudo apt-get install -y build-essential python3-dev"
    fi
}

have_libraries() { "$venv/bin/python" deploy/local/libraries.py; }

install_libraries() {
    if can_apt; then
        say "installing WeasyPrint's system libraries: $apt_libraries"
        # shellcheck disable=SC2086 # a list
        apt $apt_libraries && have_libraries && return
    fi
    say "WeasyPrint's system libraries are missing. Install them and try again:"
    if [ "$(uname)" = Darwin ]; then
        say "  brew install pango"
    elif command -v dnf >/dev/null 2>&1; then
        say "  sudo dnf install -y pango harfbuzz fontconfig dejavu-sans-fonts liberation-sans-fonts"
    elif command -v apk >/dev/null 2>&1; then
        say "  sudo apk add pango harfbuzz-subset fontconfig font-dejavu font-liberation"
    else
        say "  sudo apt-get install -y $apt_libraries"
    fi
    exit 1
}

has_font() { fc-list ":charset=$1" 2>/dev/null | grep -q .; }
have_fonts() { [ "$(uname)" = Darwin ] || { has_font 4e2d && has_font 3042 && has_font ac00 && has_font 1f9a9; }; }

# A report whose characters have no font names them in its result: nothing stops here, and it fails once.
install_fonts() {
    if can_apt; then
        say "installing fonts for Chinese, Japanese, Korean and emoji: $apt_fonts"
        # shellcheck disable=SC2086 # a list
        apt $apt_fonts && have_fonts && return
    fi
    touch "$venv/.fonts-tried"
    say "No font for Chinese, Japanese, Korean or emoji: reports show boxes for them. Install them:"
    if command -v dnf >/dev/null 2>&1; then
        say "  sudo dnf install -y wqy-microhei-fonts google-noto-color-emoji-fonts"
    elif command -v apk >/dev/null 2>&1; then
        say "  sudo apk add font-wqy-zenhei font-noto-emoji"
    else
        say "  sudo apt-get install -y $apt_fonts"
    fi
}

have_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null

# Only the browser's own tests need it, and they say so: nothing stops here.
install_chromium() {
    if can_apt; then
        say "installing Chromium for the tests"
        apt chromium && have_chromium && return
    fi
    say "Chromium is missing, and the tests of the dashboard fail without it. Install it:"
    if [ "$(uname)" = Darwin ]; then
        say "  brew install --cask chromium"
    elif command -v dnf >/dev/null 2>&1; then
        say "  sudo dnf install -y chromium"
    elif command -v apk >/dev/null 2>&1; then
        say "  sudo apk add chromium"
    else
        say "  sudo apt-get install -y chromium"
    fi
}

have_faketime() {
    for place in /usr/lib/*/faketime /usr/local/lib/faketime; do
        [ ! -e "$place/libfaketimeMT.so.1" ] || return 0
    done
    return 1
}

# Only the fault run's jump of a clock needs it, and says so when it is not done.
install_faketime() {
    if can_apt; then
        say "installing libfaketime for the fault run"
        apt libfaketime && return
    fi
    say "libfaketime is missing: the fault run lets no clock jump. Install it: sudo apt-get install -y libfaketime"
}

[ -x "$venv/bin/python" ] && "$venv/bin/python" -c '' 2>/dev/null || { rm -rf "$venv"; make_venv; }
grep -qxF "$(cksum "$lock")" "$stamp" 2>/dev/null || install_packages
have_libraries || install_libraries
have_fonts || [ -e "$venv/.fonts-tried" ] || install_fonts
case $lock in *-dev.lock)
    have_chromium || install_chromium
    have_faketime || install_faketime || true
    ;;
esac
