# The static binary and nothing else: certificates and time zones are inside it.

FROM rust:1.95.0-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends musl-tools \
 && rm -rf /var/lib/apt/lists/* \
 && rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /build
COPY . .
# Frame pointers cost three instructions a call, and without them nobody can profile a musl binary. The other flag is that of
# .cargo/config.toml, in whose place these stand.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    target="$(uname -m)-unknown-linux-musl" \
 && RUSTFLAGS="-C force-frame-pointers=yes -C llvm-args=-max-store-memcpy=32" cargo build --locked --profile dist --bin geminate --target "$target" \
 && install -D "target/$target/dist/geminate" /image/geminate \
 && install -d -o 65532 -g 65532 /image/data

FROM scratch
COPY --from=build /image/geminate /geminate
COPY --from=build --chown=65532:65532 /image/data /data
USER 65532:65532
# Beyond loopback geminate asks for something to authenticate by: give it AUTH_TOKEN or JWT_SECRET.
# The allocator gives pages back after a tenth of a second; by itself it waits so long that a burst's stay (docs/PERFORMANCE.md).
ENV HOST=0.0.0.0 \
    DATA_DIR=/data \
    MIMALLOC_PURGE_DELAY=100
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/geminate", "health"]
ENTRYPOINT ["/geminate"]
