#!/bin/sh
# Builds every image of compose.yaml with Debian's own tools, as root, where no registry of images can be reached:
# a base image from Debian's packages, Valkey from it, and the Dockerfile's targets on it.
# Usage: images.sh [TARGET…]; without one all are built. Needs mmdebstrap, buildah and podman.
#
# The machine's own way to packages is mounted while building, and is in no image: those of MACHINE_FILES that exist.
set -eu
suite=${SUITE:-trixie}
base=localhost/tandem-python:$suite
machine_files=${MACHINE_FILES:-/etc/pip.conf /etc/ssl/certs}
targets=${*:-api llm-worker sync-worker llm-stub valkey}

for tool in mmdebstrap buildah podman; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: sudo apt-get install -y mmdebstrap buildah podman" >&2; exit 1; }
done

make_base() {
    podman image exists "$base" && return
    archive=$(mktemp)
    trap 'rm -f "$archive"' EXIT
    echo "building $base from Debian's packages"
    mmdebstrap --quiet --format=tar --variant=minbase \
        --include=python3,python3-venv,python3-pip,python-is-python3,ca-certificates,adduser "$suite" "$archive"
    podman import --quiet "$archive" "$base" >/dev/null
}

mounts() { for file in $machine_files; do [ ! -e "$file" ] || printf ' --volume %s:%s:ro' "$file" "$file"; done; }

build() {
    image=localhost/tandem_$1
    shift
    echo "building $image"
    # shellcheck disable=SC2046 # a list; format: an OCI image has no health check
    buildah bud --quiet --isolation=chroot --network=host --format=docker --layers $(mounts) \
        --build-arg "PYTHON=$base" --tag "$image" "$@" . >/dev/null
}

cd "$(dirname "$0")/../.."
make_base
for target in $targets; do
    case $target in
        valkey) build valkey --file deploy/containers/valkey.Dockerfile ;;
        *) build "$target" --target "$target" ;;
    esac
done
podman images --format '{{.Repository}} {{.Size}}' | grep '^localhost/tandem_'
