#!/usr/bin/env bash
# The test suite as continuous integration runs it: what failed runs once more, one test at a time, with nothing beside
# it. What fails twice fails the run. What passes then is flaky: the run goes on, and names it, for it is to be mended.
# Usage: twice.sh PYTHON [options of pytest for the first run]
set -euo pipefail
python=$1
shift
few=20 # more than so many failures are no bad luck
cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT
failed=$cache/v/cache/lastfailed # pytest's own list of them

suite() { "$python" -m pytest -o cache_dir="$cache" "$@"; }

code=0
suite "$@" || code=$?
if [ "$code" = 3 ]; then # pytest itself broke, as where a time-out meets it at work on a traceback
    printf '\npytest broke: all runs once more\n'
    code=0
    suite "$@" || code=$?
fi
[ "$code" = 1 ] || exit "$code" # all passed; or it was broken off, and nobody knows what never ran
if grep -q '\.py": true' "$failed" || [ "$(grep -c '::' "$failed")" -gt "$few" ]; then
    exit 1 # a file that can't be imported, or too much
fi
printf '\nwhat failed runs once more, one test at a time\n'
suite --last-failed -rpfE | sed 's/^PASSED /FLAKY: /'
