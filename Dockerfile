# One image per service and one for the worker, from one file; it wants BuildKit, and from a registry the base image.
#
#   docker build --build-arg SERVICE=fraud -t scoregate/fraud .
#
# starts with what is mounted at /models/fraud: an artefact, as training writes it. To put one inside:
#
#   docker build --build-arg SERVICE=fraud --build-arg MODEL=.scoregate/models/fraud/<version> -t scoregate/fraud .
#
# One that scores files (`scoregate score fraud --in … --out …`) holds pyarrow too:
#
#   docker build --build-arg SERVICE=fraud --build-arg LOCK=batch -t scoregate/fraud-batch .
#
# One that exports spans over gRPC holds grpcio too, and is 18 MB larger: `--build-arg LOCK=grpc`.
#
# What an image is made of is in it, as CycloneDX: /opt/venv/sbom.cdx.json, which its label dev.scoregate.sbom names.
#
# It runs under a read-only root, with something writable at /tmp and, kept, at /var/lib/scoregate (the ledger).
#
#   docker build --target worker -t scoregate/worker .
#
# counts the events of all services. It keeps its offline copy of them, and looks for history to fill a lost store from,
# in /var/lib/scoregate/data, and wants the Feast registry mounted at /models/registry.db. To put it inside, add
# `--build-arg REGISTRY=.scoregate/registry.db`; or name a database in SCOREGATE_REGISTRY_URL, which
#
#   docker build --target features -t scoregate/features .
#
# brings up to the feature repository whenever it is run.
#
#   docker build --target train -t scoregate/train .
#
# trains: `scoregate retrain SERVICE` on a state folder at /var/lib/scoregate.
ARG BASE=python:3.11-slim-bookworm
ARG MODEL=
ARG REGISTRY=

# The model: nothing, or the folder that MODEL names. BuildKit makes only the one that is asked for.
FROM scratch AS model
FROM scratch AS model-inside
ARG MODEL
COPY ${MODEL} /
FROM model${MODEL:+-inside} AS chosen

# The registry likewise.
FROM scratch AS registry
FROM scratch AS registry-inside
ARG REGISTRY
COPY ${REGISTRY} /registry.db
FROM registry${REGISTRY:+-inside} AS chosen-registry

FROM ${BASE} AS venv
ENV INSTALL="python -m pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check --no-compile \
--no-deps --only-binary :all: --require-hashes"
RUN python -m venv --without-pip /opt/venv

FROM venv AS environment
ARG LOCK=serve
COPY requirements/${LOCK}.lock /tmp/environment.lock
RUN ${INSTALL} -r /tmp/environment.lock
COPY deploy/sbom.py /tmp/sbom.py
# What numpy, scipy and tornado test themselves with is 50 MB, what others are compiled from 8 MB. Under a read-only root
# nothing keeps bytecode: what is not compiled here is compiled at every start. Of scipy, that is what treelite imports.
RUN cd /opt/venv/lib/python3*/site-packages \
 && find numpy scipy tornado -depth -type d \( -name tests -o -name test \) -exec rm -rf {} + \
 && find . -type f -regextype posix-extended -regex '.*\.(pyi|pyx|pxd|pxi|c|h|hpp)' -delete \
 && python -m compileall -q -j 0 -x '/scipy/' . \
 && env -u PYTHONDONTWRITEBYTECODE /opt/venv/bin/python -c 'import treelite' \
 && python /tmp/sbom.py . > /opt/venv/sbom.cdx.json

FROM venv AS worker-environment
COPY requirements/worker.lock /tmp/worker.lock
RUN ${INSTALL} -r /tmp/worker.lock
COPY deploy/sbom.py /tmp/sbom.py
# Of pyarrow what it is compiled against, and what speaks Flight, is 40 MB.
RUN cd /opt/venv/lib/python3*/site-packages \
 && find numpy pyarrow -depth -type d \( -name tests -o -name test -o -name include \) -exec rm -rf {} + \
 && rm -f pyarrow/*_flight* \
 && python -m compileall -q -j 0 . \
 && python /tmp/sbom.py . > /opt/venv/sbom.cdx.json

FROM venv AS features-environment
COPY requirements/features.lock /tmp/features.lock
RUN ${INSTALL} -r /tmp/features.lock
COPY deploy/sbom.py /tmp/sbom.py
# Feast brings a type checker, and what serves features and colours terminals: 100 MB that applying never imports.
RUN python -m pip --python /opt/venv/bin/python uninstall --yes --quiet \
      mypy ast-serialize librt uvloop pygments \
 && cd /opt/venv/lib/python3*/site-packages \
 && find numpy pandas pyarrow dask -depth -type d \( -name tests -o -name include \) -exec rm -rf {} + \
 && find . -type f -regextype posix-extended -regex '.*\.(pyi|pyx|pxd|pxi|c|h|hpp)' -delete \
 && rm -rf pyarrow/*_flight* feast/ui feast/templates \
 && python -m compileall -q -j 0 . \
 && python /tmp/sbom.py . > /opt/venv/sbom.cdx.json

FROM venv AS train-environment
COPY requirements/train.lock /tmp/train.lock
RUN ${INSTALL} -r /tmp/train.lock
COPY deploy/sbom.py /tmp/sbom.py
RUN cd /opt/venv/lib/python3*/site-packages \
 && find numpy pandas pyarrow scipy sklearn -depth -type d \( -name tests -o -name include \) -exec rm -rf {} + \
 && python -m compileall -q -j 0 . \
 && python /tmp/sbom.py . > /opt/venv/sbom.cdx.json

# The base without what only a build needs. Under `FROM ${BASE}` it would stay in the layers below.
FROM ${BASE} AS system
RUN find /usr -depth -regextype posix-extended -regex '.*/(bin|[a-z]+-packages|python3[^/]*)/\
(pip|setuptools|wheel|pkg_resources|ensurepip|_distutils_hack|distutils-precedence)([-.0-9][^/]*)?' -exec rm -rf {} + \
 && find /usr/share/doc -type f ! -name copyright -delete \
 && rm -rf /usr/share/python-wheels /usr/share/locale /usr/share/man /var/lib/apt/lists/* /var/cache/apt/* /root/.cache \
 && python -m compileall -q -j 0 "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

# A checkout's files may be readable by their owner alone; in the image everybody may read, and nobody write.
FROM environment AS app
ARG SERVICE
COPY services/scoregate /app/services/scoregate
COPY services/${SERVICE} /app/services/${SERVICE}
COPY --from=chosen / /models/${SERVICE}/
RUN python -m compileall -q /app && chmod -R u=rwX,go=rX /app /models && mkdir -p /var/lib/scoregate

# Every service tells it which streams there are.
FROM worker-environment AS worker-app
COPY services /app/services
COPY --from=chosen-registry / /models/
RUN python -m compileall -q /app && chmod -R u=rwX,go=rX /app /models && mkdir -p /var/lib/scoregate/data

FROM features-environment AS features-app
COPY services/scoregate /app/services/scoregate
COPY feature_repo /app/feature_repo
RUN python -m compileall -q /app && chmod -R u=rwX,go=rX /app && mkdir -p /var/lib/scoregate

FROM train-environment AS train-app
COPY services /app/services
COPY feature_repo /app/feature_repo
RUN python -m compileall -q /app && chmod -R u=rwX,go=rX /app && mkdir -p /var/lib/scoregate

# What all images have in common: an empty one with the system, which nobody may write to.
FROM scratch AS image
COPY --from=system / /
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      dev.scoregate.sbom="/opt/venv/sbom.cdx.json"
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    HOME=/tmp \
    PYTHONPATH=/app/services \
    PYTHONUNBUFFERED=1 \
    SCOREGATE_HOME=/var/lib/scoregate
WORKDIR /app/services
USER 10001:10001

FROM image AS features
COPY --from=features-environment /opt/venv /opt/venv
COPY --from=features-app --chown=10001:10001 /var/lib/scoregate /var/lib/scoregate
COPY --from=features-app /app /app
LABEL org.opencontainers.image.title="scoregate-features" \
      org.opencontainers.image.description="scoregate: brings the feature registry up to the repository"
# It ends when it is done: there is nothing to ask for its health.
HEALTHCHECK NONE
CMD ["python", "-m", "scoregate", "features", "apply"]

FROM image AS train
COPY --from=train-environment /opt/venv /opt/venv
COPY --from=train-app --chown=10001:10001 /var/lib/scoregate /var/lib/scoregate
COPY --from=train-app /app /app
LABEL org.opencontainers.image.title="scoregate-train" \
      org.opencontainers.image.description="scoregate: trains models"
# It ends when it is done: there is nothing to ask for its health.
HEALTHCHECK NONE
CMD ["python", "-m", "scoregate", "--help"]

FROM image AS worker
COPY --from=worker-environment /opt/venv /opt/venv
COPY --from=worker-app --chown=10001:10001 /var/lib/scoregate /var/lib/scoregate
COPY --from=worker-app /models /models
COPY --from=worker-app /app /app
LABEL org.opencontainers.image.title="scoregate-worker" \
      org.opencontainers.image.description="scoregate: counts events into the feature store"
ENV SCOREGATE_REGISTRY=/models/registry.db
EXPOSE 3001
# Alive, not caught up: who ends it while it fills a lost store makes it begin anew.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:3001/livez', timeout=4)"]
CMD ["python", "-m", "scoregate", "features", "run", "--host", "0.0.0.0", "--port", "3001"]

FROM image
COPY --from=environment /opt/venv /opt/venv
COPY --from=app --chown=10001:10001 /var/lib/scoregate /var/lib/scoregate
COPY --from=app /models /models
COPY --from=app /app /app
ARG SERVICE
LABEL org.opencontainers.image.title="scoregate-${SERVICE}" \
      org.opencontainers.image.description="scoregate: the ${SERVICE} scoring service"
# One row is scored faster by one thread than by many that wait for each other.
ENV OMP_NUM_THREADS=1 \
    BENTOML_DO_NOT_TRACK=true \
    BENTOML_HOME=/tmp/bentoml \
    SCOREGATE_MODEL_DIR=/models/${SERVICE} \
    SCOREGATE_REGISTRY=/models/registry.db \
    SERVICE=${SERVICE}
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:3000/readyz', timeout=4)"]
# `exec`: the server is process 1 and gets SIGTERM itself. It keeps idle connections longer than the gateway does.
CMD ["sh", "-c", "exec bentoml serve ${SERVICE}.service:Service --working-dir /app/services --host 0.0.0.0 --port 3000 --timeout-keep-alive 75"]
