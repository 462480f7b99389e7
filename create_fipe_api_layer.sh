#!/usr/bin/env bash
# Builds what a deployment needs: the Lambda layers, with pip for the Lambda platform (no Docker), and the copy of
# the SQL script that is packed with the SQL-init functions. Builds only what is not up to date.
set -euo pipefail
cd "$(dirname "$0")"

PYTHON=${PYTHON:-.venv/bin/python}
PATH=$(dirname "$PYTHON"):$PATH # Node.js is there, too
BUILD=lambda-layer/build
# Where to get the certificates of the authorities that sign RDS's certificates: a URL (also file:///...), or none.
RDS_CERTIFICATES=${RDS_CERTIFICATES:-https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem}
# Whether to compile the layers: no, or anything else.
COMPILE_LAYERS=${COMPILE_LAYERS:-yes}
# The bucket that months are written to as Parquet, or any other text: then the layer with pyarrow is built, too.
EXPORT_BUCKET=${EXPORT_BUCKET:-}

sha256() {
    "$PYTHON" -c 'import hashlib, sys; print(hashlib.sha256(b"".join(open(name, "rb").read() for name in sys.argv[1:])).hexdigest())' "$@"
}

# Wheels for the runtime python3.14 on arm64, which is based on Amazon Linux 2023 (glibc 2.34). --no-deps, because
# the requirements leave out what the runtime already contains (see lambda-layer/README.md).
install_wheels() { # requirements, target
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes \
        --implementation cp --python-version 3.14 --only-binary=:all: \
        --platform manylinux_2_34_aarch64 --platform manylinux_2_28_aarch64 \
        --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
        --requirement "$1" --target "$2"
}

# Commands contain the path of this machine's Python, so the layer would differ from machine to machine. *.dist-info
# stays: it holds the licences, and Amazon Inspector needs it to find vulnerable packages.
strip_unused() { # target
    rm -rf "$1/bin"
    find "$1" -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
}

# Headers and sources, other clouds' file systems, and Flight: 60 MB that writing Parquet does without. What is linked
# to pyarrow.lib stays. Of libarrow_python, the wheel has three copies; the others are for those who compile.
strip_pyarrow() { # target
    [ -d "$1/pyarrow" ] || return 0
    (
        cd "$1/pyarrow"
        rm -rf include includes src libarrow_flight* libarrow_python_flight* _flight* libarrow_s3* _s3fs* _gcsfs* \
            _azurefs* _hdfs* _pyarrow_cpp_tests* libarrow_python.so libarrow_python.so.*.*.* ./*.pxi ./*.pyx ./*.pxd
    )
}

# A layer counts against the 250 MB of a function, and against its cold start.
limit_mb() { # name
    case $1 in
    pyarrow) echo 110 ;;
    *) echo 30 ;;
    esac
}

build_layer() { # name
    local requirements=lambda-layer/requirements-$1.txt folder=$BUILD/$1 stamp=$BUILD/$1.sha256 hash size limit
    hash=$(sha256 "$requirements" "$0")
    if [ -d "$folder" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$hash" ]; then
        return
    fi
    install_wheels "$requirements" "$DRAFTS/$1/python"
    strip_unused "$DRAFTS/$1/python"
    strip_pyarrow "$DRAFTS/$1/python"
    size=$(du -sk "$DRAFTS/$1" | cut -f1) limit=$(limit_mb "$1")
    if [ "$size" -gt $((limit * 1024)) ]; then
        echo "layer $1 is $((size / 1024)) MB unzipped, more than the limit of $limit MB: pin fewer or smaller packages in $requirements" >&2
        exit 1
    fi
    rm -rf "$folder"
    mv "$DRAFTS/$1" "$folder"
    echo "$hash" >"$stamp"
    echo "layer $1: $(awk "BEGIN {printf \"%.1f\", $size / 1024}") MB unzipped"
}

# Without them, the functions encrypt their connections but cannot check that they talk to the right server.
fetch_rds_certificates() {
    local target=$BUILD/psycopg2/rds-certificates.pem
    if [ "$RDS_CERTIFICATES" = none ] || [ -s "$target" ]; then
        return
    fi
    "$PYTHON" - "$RDS_CERTIFICATES" "$target" <<'PYTHON' || true
import os, ssl, sys, urllib.request
url, target = sys.argv[1:]
try:
    with urllib.request.urlopen(url, timeout=10) as answer:
        certificates = answer.read().decode()
    ssl.create_default_context(cadata=certificates)
except (OSError, ValueError) as error:
    sys.exit(f"RDS's certificates are not at {url} ({error}): the functions will encrypt their connections to the"
             " database, but not check its certificate (sslmode=require)")
with open(target + ".new", "w") as draft:
    draft.write(certificates)
os.replace(target + ".new", target)
print("layer psycopg2: with RDS's certificates (sslmode=verify-full)")
PYTHON
}

# Takes 40% off a cold start, which takes seconds: a function of 128 MB has a fourteenth of a processor.
compile_layers() {
    local layer uncompiled=()
    for layer in "${LAYERS[@]}"; do
        [ -n "$(find "$BUILD/$layer" -name '*.pyc' -print -quit)" ] || uncompiled+=("$BUILD/$layer")
    done
    if [ "$COMPILE_LAYERS" = no ] || [ ${#uncompiled[@]} = 0 ]; then
        return
    fi
    if npm ci --prefix lambda-layer --no-audit --no-fund --loglevel=error >/dev/null &&
        node lambda-layer/compile.mjs "${uncompiled[@]}"; then
        echo "layers: compiled for Python 3.14"
    else
        find "${uncompiled[@]}" -name __pycache__ -prune -exec rm -rf {} +
        echo "the layers could not be compiled: each cold start will take some seconds more" >&2
    fi
}

mkdir -p "$BUILD" lambda/assets
DRAFTS=$(mktemp -d "$BUILD/draft.XXXXXX")
trap 'rm -rf "$DRAFTS"' EXIT
LAYERS=(api psycopg2 query ${EXPORT_BUCKET:+pyarrow})
for layer in "${LAYERS[@]}"; do
    build_layer "$layer"
done
fetch_rds_certificates
compile_layers
cmp -s create_fipe_db.sql lambda/assets/create_fipe_db.sql || cp create_fipe_db.sql lambda/assets/
