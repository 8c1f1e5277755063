# A static binary alone, as an unprivileged user.
FROM scratch
ARG TARGETPLATFORM
COPY $TARGETPLATFORM/walctl /walctl
USER 65532:65532
ENTRYPOINT ["/walctl"]
