# One image for all services: each runs its own command (roadvault-ingest, roadvault-packer, ...). What is installed is
# given by hash in deploy/requirements.txt, which setup/lock.py makes of constraints.txt.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY deploy/requirements.txt deploy/requirements-build.txt deploy/
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --require-hashes --no-deps -r deploy/requirements-build.txt \
    && python -m venv /opt/roadvault && /opt/roadvault/bin/pip install --no-cache-dir --require-hashes --no-deps -r deploy/requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY libs libs
COPY services services
COPY schema schema
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/roadvault/bin/pip install --no-cache-dir --no-index --no-deps dist/*.whl

FROM ${PYTHON_IMAGE}
# What this is built of, for roadvault_build_info and `roadvault --version`: REVISION=$(git rev-parse --short HEAD).
ARG REVISION=
COPY --from=build /opt/roadvault /opt/roadvault
ENV PATH=/opt/roadvault/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ROADVAULT_REVISION=$REVISION
# The same user id as Kubo's in its own image: its filestore reads the archives that the packer writes.
USER 1000:100
CMD ["roadvault", "--help"]
