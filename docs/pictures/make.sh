#!/usr/bin/env bash
# Makes the images of docs/plot.md with qemu-img and qemu-io, and draws them.
# Usage: docs/pictures/make.sh   (from anywhere; writes the drawings beside itself)
set -euo pipefail
export LC_ALL=C

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
(cd ../.. && go build -o "$folder/qinspect" .)
RANDOM=20 # the same images each time

readonly disk_mib=2048

# at LENGTH: a write of LENGTH at some cluster of the disk, but for its last MiB.
at() { echo "write -q -P 1 $(((RANDOM * 32768 + RANDOM) % ((disk_mib - 1) * 16) * 64))k $1"; }

# image NAME: run the qemu-io commands on standard input on an image.
image() { qemu-io -d unmap "$folder/$1.qcow2" >/dev/null; }

create() { qemu-img create -q -f qcow2 "$folder/$1.qcow2" "${disk_mib}M"; }

# install: an installation, which fills four parts of the disk one after the other.
install() {
  local part i
  for part in 0 512 1024 1536; do
    for ((i = 0; i < 40; i++)); do echo "write -q -P 1 $((part + i))M 1M"; done
  done
}

# use N: N small writes, and discards, as years of use make them.
use() {
  local i
  for ((i = 0; i < $1; i++)); do
    at "$((RANDOM % 3 + 1))00k"
    if ((i % 3 == 0)); then echo "discard -q $((RANDOM % 4 * 512 + RANDOM % 40))M $((RANDOM % 5 * 64 + 64))k"; fi
  done
}

fresh() {
  create fresh
  install | image fresh
}

aged() {
  create aged
  install | image aged
  local i
  for i in 1 2 3; do
    use 120 | image aged
    qemu-img snapshot -c old "$folder/aged.qcow2"
    use 40 | image aged
    qemu-img snapshot -d old "$folder/aged.qcow2"
  done
}

snapshots() {
  create snapshots
  install | image snapshots
  local name
  for name in installed configured updated; do
    qemu-img snapshot -c "$name" "$folder/snapshots.qcow2"
    for ((i = 0; i < 60; i++)); do echo "write -q -P 1 $((RANDOM % 4 * 512 + RANDOM % 40))M 256k"; done | image snapshots
  done
}

random() {
  create random
  for ((i = 0; i < 2500; i++)); do at 64k; done | image random
}

for name in fresh aged snapshots random; do
  "$name"
  (cd "$folder" && ./qinspect plot -o svg "$name.qcow2") >"$name.svg"
  (cd "$folder" && ./qinspect plot -o svg --by runs "$name.qcow2") >"$name-runs.svg"
done
