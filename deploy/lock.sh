#!/bin/sh
# Pins all dependency groups: one resolution, one lock file for each thing that is installed.
set -eu
compile() {
    output=$1
    shift
    .venv/bin/uv pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate "$@" --output-file "$output"
}
compile requirements-dev.lock --upgrade --extra api --extra llm --extra sync --extra local --extra dev
for groups in "api llm sync local:requirements.lock" api:requirements-api.lock llm:requirements-llm.lock sync:requirements-sync.lock; do
    extras=""
    for group in ${groups%%:*}; do extras="$extras --extra $group"; done
    # shellcheck disable=SC2086 # a list
    compile "${groups##*:}" $extras --constraints requirements-dev.lock
done
