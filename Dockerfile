# The images are named by digest: `make images` looks up new ones.

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
WORKDIR /src
# Optional parts, separated by commas: otel for traces, flower for the image of that name.
ARG EXTRAS=
# All packages are fetched here, checked against their hashes; below, only those that the program needs are installed.
COPY requirements.lock .
RUN python -m pip wheel --no-cache-dir --require-hashes --no-deps --requirement requirements.lock --wheel-dir /wheels
COPY . .
RUN python -m venv /opt/standorte \
    && /opt/standorte/bin/pip install --no-cache-dir --no-index --find-links /wheels babel \
    && .make/translations /opt/standorte/bin/python \
    && /opt/standorte/bin/pip install --no-cache-dir --no-index --find-links /wheels ".${EXTRAS:+[$EXTRAS]}"

# The SIP server where phones register: Debian's Kamailio, as in the tests.
FROM debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251 AS kamailio
RUN apt-get update \
    && apt-get install -y --no-install-recommends kamailio kamailio-postgres-modules kamailio-tls-modules \
    && rm -rf /var/lib/apt/lists/*
COPY workers/sip/kamailio.cfg /etc/kamailio/kamailio.cfg
# Debian's package creates this user.
USER kamailio
EXPOSE 5060/udp 5060/tcp
# Kamailio's configuration can only ask whether a variable is there: an empty one, as compose passes it on, would be TLS
# without certificates, and Kamailio would not start.
ENTRYPOINT ["sh", "-c", "[ -n \"$SIP_INTERCONNECT_TLS\" ] || unset SIP_INTERCONNECT_TLS; exec kamailio -DD -E -Y /tmp \"$@\"", "kamailio"]

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/standorte standorte
COPY --from=build /opt/standorte /opt/standorte
ENV PATH=/opt/standorte/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    WEB_HOST=0.0.0.0 \
    METRICS_HOST=0.0.0.0 \
    STANDORTE_DIR=/var/lib/standorte
# Created here, so that a volume mounted there belongs to this user.
RUN install -d -o standorte -g standorte /var/lib/standorte/letters
USER standorte
WORKDIR /var/lib/standorte
EXPOSE 8000
ENTRYPOINT ["standorte"]
CMD ["web"]
