# One image a pool, each with its own libraries only. Targets: api, llm-worker, sync-worker (also the clock
# and the dashboard, by another command) and, for development, llm-stub. docs/containers.md tells how to use them.
ARG PYTHON=python:3.13-slim-trixie

# --- what all images run on
FROM ${PYTHON} AS runtime
# The ids are fixed, so that images which share the volume of artefacts own its files alike.
RUN groupadd --gid 10001 tandem \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin tandem \
    && install -d -o 10001 -g 10001 -m 0750 /data /data/files
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    TANDEM_LOG_FORMAT=json \
    TANDEM_FILES_URL=file:///data/files
WORKDIR /app
USER 10001:10001
STOPSIGNAL SIGTERM

# --- one builder a lock file; a package without a wheel fails here, since there is no compiler
FROM ${PYTHON} AS builder
WORKDIR /build
RUN python -m venv --without-pip /opt/venv
ENV PIP_PYTHON=/opt/venv/bin/python \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore

FROM builder AS api-libraries
COPY requirements-api.lock .
RUN pip install --require-hashes --only-binary=:all: -r requirements-api.lock

FROM builder AS llm-libraries
COPY requirements-llm.lock .
RUN pip install --require-hashes --only-binary=:all: -r requirements-llm.lock

FROM builder AS sync-libraries
COPY requirements-sync.lock .
RUN pip install --require-hashes --only-binary=:all: -r requirements-sync.lock

FROM builder AS stub-libraries
COPY requirements.lock .
RUN pip install --require-hashes --only-binary=:all: -r requirements.lock

# --- the images
FROM runtime AS api
COPY --from=api-libraries /opt/venv /opt/venv
COPY tandem/__init__.py tandem/
COPY shared tandem/shared
COPY api tandem/api
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=10s --start-period=40s --retries=3 \
    CMD ["python", "-m", "tandem.shared.runtime.healthcheck", "tandem.api"]
CMD ["python", "-m", "tandem.api"]

FROM runtime AS llm-worker
COPY --from=llm-libraries /opt/venv /opt/venv
COPY tandem/__init__.py tandem/
COPY shared tandem/shared
COPY llm_worker tandem/llm_worker
HEALTHCHECK --interval=15s --timeout=10s --start-period=40s --retries=3 \
    CMD ["python", "-m", "tandem.shared.runtime.healthcheck", "tandem.llm_worker"]
CMD ["python", "-m", "tandem.llm_worker"]

FROM runtime AS sync-worker
USER 0:0
# WeasyPrint's libraries, and fonts for documents that bring none: Latin, Greek and Cyrillic; Chinese, Japanese and
# Korean (5 MB); emoji (11 MB). Debian's security updates come with a rebuild.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz0b \
        libharfbuzz-subset0 fontconfig fonts-dejavu-core fonts-liberation \
        fonts-wqy-microhei fonts-noto-color-emoji \
    && rm -rf /var/lib/apt/lists/*
USER 10001:10001
COPY --from=sync-libraries /opt/venv /opt/venv
COPY tandem/__init__.py tandem/
COPY shared tandem/shared
COPY sync_worker tandem/sync_worker
EXPOSE 9181
HEALTHCHECK --interval=15s --timeout=10s --start-period=40s --retries=3 \
    CMD ["python", "-m", "tandem.shared.runtime.healthcheck", "tandem.sync_worker"]
CMD ["python", "-m", "tandem.sync_worker"]

# The OpenAI-compatible stand-in, for development. Only this image has the libraries of all groups.
FROM runtime AS llm-stub
COPY --from=stub-libraries /opt/venv /opt/venv
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=3)"]
CMD ["python", "-m", "uvicorn", "llmock.main:app", "--host", "0.0.0.0", "--port", "8000", "--log-level", "warning"]
