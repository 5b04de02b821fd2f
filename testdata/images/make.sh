#!/usr/bin/env bash
# Makes every fixture image of this folder again, with qemu-img, qemu-io and
# coreutils. Usage: make.sh [folder]   (default: the folder of this script)
set -euo pipefail
export LC_ALL=C
unset CDPATH

dest=${1:-$(dirname -- "${BASH_SOURCE[0]}")}
mkdir -p -- "$dest"
# All names below are relative, so that the images store relative names.
cd -- "$dest"

rm -f -- v2.qcow2 v3.qcow2 v2-snapshots.qcow2 snapshots.qcow2 evil-names.qcow2 \
  luks.qcow2 aes.qcow2 bitmaps.qcow2 extended-l2.qcow2 zstd.qcow2 \
  data-file.qcow2 data-file.raw backing.qcow2 base.qcow2 refcount1.qcow2 \
  refcount64.qcow2 dirty.qcow2 corrupt.qcow2 unknown-feature.qcow2 empty.qcow2 \
  tables.qcow2

# poke FILE OFFSET BYTES: overwrite bytes in place; BYTES is a printf format.
poke() {
  # shellcheck disable=SC2059
  printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# be32 FILE OFFSET: print the big-endian 32-bit number found there.
be32() {
  local b
  read -r -a b < <(od -An -v -tu1 -j "$2" -N 4 -- "$1")
  echo $(((b[0] << 24) | (b[1] << 16) | (b[2] << 8) | b[3]))
}

# last_name_record FILE: print the offset of the last record of the feature name
# table, which has to be the first header extension.
last_name_record() {
  if [[ $(be32 "$1" 112) -ne $((0x6803f857)) ]]; then
    echo "$1: no feature name table at byte 112" >&2
    return 1
  fi
  echo $((120 + $(be32 "$1" 116) - 48))
}

# v2.qcow2: version 2 header (72 bytes, no feature fields), default 64 KiB clusters, one data cluster.
qemu-img create -q -f qcow2 -o compat=0.10 v2.qcow2 1M
qemu-io -f qcow2 -c 'write -q -P 0x11 64k 4k' v2.qcow2

# v3.qcow2: version 3 header with data, zero clusters (unallocated and allocated) and compressed clusters.
qemu-img create -q -f qcow2 -o cluster_size=4k v3.qcow2 1M
qemu-io -f qcow2 -c 'write -q -P 0x11 0 16k' -c 'write -q -z 8k 4k' -c 'write -q -z 64k 32k' -c 'write -q -c -P 0x22 128k 4k' -c 'write -q -c -P 0x33 132k 4k' v3.qcow2

# v2-snapshots.qcow2: version 2 with two snapshots (QEMU writes their extra data in version 2 as well).
qemu-img create -q -f qcow2 -o compat=0.10,cluster_size=512 v2-snapshots.qcow2 256k
qemu-io -f qcow2 -c 'write -q -P 0x11 0 4k' v2-snapshots.qcow2
qemu-img snapshot -c first v2-snapshots.qcow2
qemu-io -f qcow2 -c 'write -q -P 0x22 2k 4k' v2-snapshots.qcow2
qemu-img snapshot -c second v2-snapshots.qcow2
qemu-io -f qcow2 -c 'write -q -P 0x33 64k 1k' v2-snapshots.qcow2

# snapshots.qcow2: three snapshots around a write and around a resize (two disk sizes), shared and unshared data.
qemu-img create -q -f qcow2 -o cluster_size=512 snapshots.qcow2 1M
qemu-io -f qcow2 -c 'write -q -P 0x11 0 8k' snapshots.qcow2
qemu-img snapshot -c before-write snapshots.qcow2
qemu-io -f qcow2 -c 'write -q -P 0x22 4k 8k' snapshots.qcow2
qemu-img snapshot -c after-write snapshots.qcow2
qemu-img resize -q -f qcow2 snapshots.qcow2 2M
qemu-io -f qcow2 -c 'write -q -P 0x33 1536k 2k' snapshots.qcow2
qemu-img snapshot -c after-resize snapshots.qcow2
qemu-io -f qcow2 -c 'write -q -P 0x44 0 1k' -c 'write -q -P 0x55 1M 1k' snapshots.qcow2

# evil-names.qcow2: snapshot names with an escape sequence and a newline, and with bytes that are not UTF-8.
qemu-img create -q -f qcow2 -o cluster_size=512 evil-names.qcow2 64k
qemu-io -f qcow2 -c 'write -q -P 0x11 0 1k' evil-names.qcow2
qemu-img snapshot -c $'evil\e[31m\n' evil-names.qcow2
qemu-img snapshot -c $'bad\xff\xfe' evil-names.qcow2

# luks.qcow2: LUKS encryption (crypt method 2 and its header extension), secret "qinspect".
qemu-img create -q -f qcow2 --object secret,id=key,data=qinspect -o cluster_size=4k,encrypt.format=luks,encrypt.key-secret=key,encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256,encrypt.iter-time=10 luks.qcow2 64k
qemu-io --object secret,id=key,data=qinspect -c 'write -q -P 0x11 0 4k' --image-opts driver=qcow2,encrypt.format=luks,encrypt.key-secret=key,file.filename=luks.qcow2

# aes.qcow2: legacy AES encryption (crypt method 1), secret "qinspect".
qemu-img create -q -f qcow2 --object secret,id=key,data=qinspect -o cluster_size=512,encrypt.format=aes,encrypt.key-secret=key aes.qcow2 64k
qemu-io --object secret,id=key,data=qinspect -c 'write -q -P 0x11 0 1k' --image-opts driver=qcow2,encrypt.format=aes,encrypt.key-secret=key,file.filename=aes.qcow2

# bitmaps.qcow2: three persistent bitmaps of different granularity, with and without dirty bits, one disabled.
qemu-img create -q -f qcow2 -o cluster_size=512 bitmaps.qcow2 4M
qemu-img bitmap --add -g 4k -f qcow2 bitmaps.qcow2 daily
qemu-img bitmap --add -g 512 -f qcow2 bitmaps.qcow2 frozen
qemu-io -f qcow2 -c 'write -q -P 0x11 0 4k' -c 'write -q -P 0x22 3M 1k' bitmaps.qcow2
qemu-img bitmap --disable -f qcow2 bitmaps.qcow2 frozen
qemu-img bitmap --add -g 64k -f qcow2 bitmaps.qcow2 weekly

# extended-l2.qcow2: 128-bit L2 entries; clusters with some subclusters written, some zeroed, some neither.
qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=16k extended-l2.qcow2 1M
qemu-io -f qcow2 -c 'write -q -P 0x11 0 1k' -c 'write -q -P 0x22 4k 2k' -c 'write -q -z 8k 4k' -c 'write -q -z 33k 1k' extended-l2.qcow2

# zstd.qcow2: compression type zstd, three compressed clusters and one plain one.
qemu-img create -q -f qcow2 -o compression_type=zstd,cluster_size=4k zstd.qcow2 256k
qemu-io -f qcow2 -c 'write -q -c -P 0x11 0 4k' -c 'write -q -c -P 0x22 4k 4k' -c 'write -q -c -P 0x33 64k 4k' -c 'write -q -P 0x44 128k 4k' zstd.qcow2

# data-file.qcow2, data-file.raw: guest data in an external raw data file, named by the header.
qemu-img create -q -f qcow2 -o cluster_size=4k,data_file=data-file.raw,data_file_raw=on data-file.qcow2 16k
qemu-io -f qcow2 -c 'write -q -P 0x11 4k 4k' data-file.qcow2

# base.qcow2: the backing file of backing.qcow2.
qemu-img create -q -f qcow2 -o cluster_size=512 base.qcow2 64k
qemu-io -f qcow2 -c 'write -q -P 0x11 0 2k' base.qcow2

# backing.qcow2: an overlay with a backing file name and a backing format.
qemu-img create -q -f qcow2 -o cluster_size=512 -b base.qcow2 -F qcow2 backing.qcow2 64k
qemu-io -f qcow2 -c 'write -q -P 0x22 1k 512' -c 'write -q -z 1536 512' backing.qcow2

# refcount1.qcow2: refcount entries of 1 bit (refcount order 0).
qemu-img create -q -f qcow2 -o cluster_size=512,refcount_bits=1 refcount1.qcow2 64k
qemu-io -f qcow2 -c 'write -q -P 0x11 0 2k' refcount1.qcow2

# refcount64.qcow2: refcount entries of 64 bits (refcount order 6).
qemu-img create -q -f qcow2 -o cluster_size=512,refcount_bits=64 refcount64.qcow2 64k
qemu-io -f qcow2 -c 'write -q -P 0x11 0 2k' refcount64.qcow2

# dirty.qcow2: lazy refcounts, with the dirty bit (incompatible bit 0) set.
qemu-img create -q -f qcow2 -o cluster_size=4k,lazy_refcounts=on dirty.qcow2 64k
qemu-io -f qcow2 -c 'write -q -P 0x11 0 4k' dirty.qcow2
poke dirty.qcow2 79 '\x01'

# corrupt.qcow2: the corrupt bit (incompatible bit 1) set.
qemu-img create -q -f qcow2 -o cluster_size=4k corrupt.qcow2 64k
qemu-io -f qcow2 -c 'write -q -P 0x11 0 4k' corrupt.qcow2
poke corrupt.qcow2 79 '\x02'

# unknown-feature.qcow2: incompatible bit 62 set, named "time travel" by the last record of the feature name table (QEMU writes none with clusters below 8 KiB).
qemu-img create -q -f qcow2 -o cluster_size=8k unknown-feature.qcow2 64k
record=$(last_name_record unknown-feature.qcow2)
dd if=/dev/zero of=unknown-feature.qcow2 bs=1 seek="$record" count=48 conv=notrunc status=none
poke unknown-feature.qcow2 "$record" '\x00\x3etime travel'
poke unknown-feature.qcow2 72 '\x40'

# empty.qcow2: the smallest cluster size and nothing written.
qemu-img create -q -f qcow2 -o cluster_size=512 empty.qcow2 1M

# tables.qcow2: every kind of table, with L2 entries of every kind before and after a snapshot, and a bitmap.
qemu-img create -q -f qcow2 -o cluster_size=4k tables.qcow2 4M
qemu-io -f qcow2 -c 'write -q 0 64k' -c 'write -q -z 64k 8k' -c 'write -q -c 128k 4k' -c 'write -q -c 132k 4k' tables.qcow2
qemu-img snapshot -c one tables.qcow2
qemu-io -f qcow2 -c 'write -q 4k 4k' -c 'write -q -z 8k 4k' tables.qcow2
qemu-img bitmap --add -f qcow2 tables.qcow2 b1
qemu-io -f qcow2 -c 'write -q 3M 4k' tables.qcow2
