# syntax=docker/dockerfile:1
# For machines of both kinds: docker buildx build --platform linux/amd64,linux/arm64 --tag NAME --push .
# Both base images are there for both; nothing here names one. The build for the other kind is emulated and takes many times as
# long; on a machine of each kind it does not (docker buildx create --append).

FROM rust:1-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src ./src
# The caches outlive a build, so that only what changed is compiled again; the binary is taken out of them in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/sidestream /usr/local/bin/ && install -d -m 0770 /run/sidestream /var/lib/sidestream

# Nothing but the C library, libgcc and certificates of authorities: no shell, no package manager. Its user nonroot is 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="Sidestream" \
      org.opencontainers.image.description="A reverse-proxy sidecar that ends Server-Sent-Events connections" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /usr/local/bin/sidestream /usr/local/bin/sidestream
# The place for the publish socket, to be shared with the app as a volume. Both let in the group 65532: run the app in it.
COPY --from=build --chown=65532:65532 /run/sidestream /run/sidestream
# The place for a store on disk.
COPY --from=build --chown=65532:65532 /var/lib/sidestream /var/lib/sidestream
USER 65532:65532
WORKDIR /run/sidestream
# Docker lets any user bind ports below 1024.
EXPOSE 80 443
# Streams are ended one by one on SIGTERM: give `docker stop --time` what [server] shutdown_timeout says.
STOPSIGNAL SIGTERM
# It asks the publish socket, which is to be there: [publish] socket = "/run/sidestream/publish.sock".
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s \
    CMD ["/usr/local/bin/sidestream", "health", "unix:/run/sidestream/publish.sock"]
ENTRYPOINT ["/usr/local/bin/sidestream"]
CMD ["run", "--config", "/etc/sidestream/sidestream.toml"]
