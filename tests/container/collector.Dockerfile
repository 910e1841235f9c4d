# The Collector that OTELCOL names, as its public image has it: alone. The build context is the program's folder.
FROM scratch
ARG PROGRAM=otelcol
COPY ${PROGRAM} /otelcol
USER 10001:10001
ENTRYPOINT ["/otelcol"]
