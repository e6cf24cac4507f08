# syntax=docker/dockerfile:1

FROM rust:1-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src ./src
# The caches outlive a build, so that only what changed is compiled again; the binary is taken out of them in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/sidestream /usr/local/bin/ && mkdir /run/sidestream

# Nothing but the C library, libgcc and certificates of authorities: no shell, no package manager. Its user nonroot is 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /usr/local/bin/sidestream /usr/local/bin/sidestream
# The place for the publish socket, to be shared with the app as a volume. The socket lets in the group 65532: run the app
# in it, or set [publish] mode.
COPY --from=build --chown=65532:65532 /run/sidestream /run/sidestream
USER 65532:65532
WORKDIR /run/sidestream
# Docker lets any user bind ports below 1024.
EXPOSE 80 443
# Streams are ended one by one on SIGTERM: give `docker stop --time` what [server] shutdown_timeout says.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/sidestream"]
CMD ["run", "--config", "/etc/sidestream/sidestream.toml"]
