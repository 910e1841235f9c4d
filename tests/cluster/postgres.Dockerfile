# The database of the cluster tests: Debian's PostgreSQL under a user of its own, on what is mounted at /data.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
# Without a version: Debian takes one away when its successor is there.
# hadolint ignore=DL3008
RUN apt-get update -q \
 && apt-get install -y -q --no-install-recommends postgresql-15 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10003 database && useradd --uid 10003 --gid 10003 --no-create-home database
COPY start.sh /usr/local/bin/start
ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin
USER 10003:10003
EXPOSE 5432
CMD ["sh", "/usr/local/bin/start"]
