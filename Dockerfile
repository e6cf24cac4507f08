# syntax=docker/dockerfile:1

FROM rust:1-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src ./src
# The caches outlive a build, so that only what changed is compiled again; the binary is taken out of them in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/sidestream /usr/local/bin/

FROM debian:bookworm-slim
RUN useradd --system --no-create-home --shell /usr/sbin/nologin sidestream \
    && install -d -o sidestream -g sidestream /run/sidestream /etc/sidestream
COPY --from=build /usr/local/bin/sidestream /usr/local/bin/sidestream
# Docker lets any user bind ports below 1024. /run/sidestream is the place for the publish socket, to be shared with the app.
USER sidestream
WORKDIR /run/sidestream
EXPOSE 80 443
STOPSIGNAL SIGTERM
ENTRYPOINT ["sidestream"]
CMD ["run", "--config", "/etc/sidestream/sidestream.toml"]
