# One image for all services: each runs its own command (roadvault-ingest, roadvault-packer, ...).
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/roadvault
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY libs libs
COPY services services
COPY schema schema
RUN /opt/roadvault/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.11-slim
COPY --from=build /opt/roadvault /opt/roadvault
ENV PATH=/opt/roadvault/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The same user id as Kubo's in its own image: its filestore reads the archives that the packer writes.
USER 1000:100
CMD ["roadvault", "--help"]
