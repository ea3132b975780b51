# drillbook for Jobs, game days, watchdogs and helper pods: docker build -t drillbook/drillbook:0.1.0 .
FROM python:3.12-slim AS build
COPY . /source
RUN pip install --no-cache-dir --prefix=/install "/source[locust]"

FROM python:3.12-slim
# tc and nft are for helper pods alone, which run as root of their node; nothing else here does.
RUN apt-get update \
 && apt-get install -y --no-install-recommends iproute2 nftables \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /install /usr/local
RUN useradd --uid 10001 --create-home drillbook
USER 10001
WORKDIR /home/drillbook
ENTRYPOINT ["drillbook"]
