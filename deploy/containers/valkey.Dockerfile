# Debian's own Valkey in the place of compose.yaml's image, where no registry of images can be reached.
ARG PYTHON
FROM ${PYTHON}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends valkey-server valkey-tools \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o 999 -g 999 /data
WORKDIR /data
USER 999:999
