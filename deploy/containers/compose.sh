#!/bin/sh
# podman-compose on the whole platform with the images of images.sh: compose.sh COMMAND…
# It gets a virtual environment of its own: nothing of the platform needs it.
set -eu
cd "$(dirname "$0")/../.."
venv=.venv-containers
if [ ! -x $venv/bin/podman-compose ]; then
    rm -rf $venv
    "${PYTHON:-python3}" -m venv $venv
    $venv/bin/python -m pip install -qq --disable-pip-version-check podman-compose==1.6.0
fi
exec $venv/bin/podman-compose --podman-args="--runtime runc" --project-name tandem-test \
    --file compose.yaml --file deploy/containers/compose.yaml --profile dev "$@"
