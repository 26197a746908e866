# The token service in a container of its own; compose.yaml shows how it is meant to run.
#
# No secret is in it: the .env is in a folder that is mounted at /data. Mount the folder, not the
# file: a mounted file cannot be replaced, and a strategy could read it half written.

FROM python:3.13-slim AS build

WORKDIR /source
# .dockerignore lets nothing in but what the package is made of.
COPY . .
# With `notify`, for notices; without pip, which nobody needs there.
# The version is that of this checkout; there is none to pin.
# hadolint ignore=DL3013
RUN python -m venv --without-pip /opt/broker-tokens \
 && pip --python /opt/broker-tokens/bin/python install --no-cache-dir '.[notify]'


FROM python:3.13-slim

COPY --from=build /opt/broker-tokens /opt/broker-tokens

# The file system may be read-only, so nothing is compiled at run time and home is in memory.
ENV PATH=/opt/broker-tokens/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    UPSTOX_ENV_FILE=/data/.env

# Never root. Whoever runs it must own the mounted folder: `docker run --user`, or compose.yaml.
USER 1000:1000
WORKDIR /data

# Docker knows 0 and 1 alone. A WARNING (1) is for you: from 08:00 until you have approved or logged in
# nothing is wrong with the container.
HEALTHCHECK --interval=1m --timeout=20s --start-period=30s --retries=2 \
    CMD ["sh", "-c", "upstox-token status --check || [ $? -eq 1 ]"]

# SIGTERM ends it within a second; only a token request under way is waited for, 22 s at most.
CMD ["python", "-m", "token_refresh_service"]
