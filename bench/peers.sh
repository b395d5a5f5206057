#!/bin/sh
# Makes .venv-peers: what the platform is measured against needs other Redis clients than the platform.
set -eu
lock=bench/requirements-peers.lock
venv=.venv-peers
stamp=$venv/.installed-from
grep -qxF "$(cksum "$lock")" "$stamp" 2>/dev/null && exit
printf 'installing the peers of %s (once)\n' "$lock" >&2
[ -x "$venv/bin/python" ] || .venv/bin/python -m venv "$venv"
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes -r "$lock"
cksum "$lock" > "$stamp"
