# The online store of the cluster tests: that of the container tests, with the client that the probes of k8s/prerequisites
# ask it by. Debian calls it redis-cli.
ARG STORE=scoregate-test/valkey
FROM ${STORE}
USER 0
RUN apt-get update -q \
 && apt-get install -y -q --no-install-recommends redis-tools \
 && rm -rf /var/lib/apt/lists/* \
 && ln -s /usr/bin/redis-cli /usr/local/bin/valkey-cli
USER 10002:10002
