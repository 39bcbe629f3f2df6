#!/bin/sh
# Makes a base image with Python 3.11 from Debian's packages, for machines that reach no image registry.
#   deploy/debian_base.sh [NAME]      localhost/quantbento-base by default
#   DEBIAN_MIRROR=...                 where the packages come from; debootstrap's default otherwise
# It needs root, buildah, debootstrap and two minutes. The image has what python:3.11-slim has: Python, venv and pip.
set -eu
name=${1:-localhost/quantbento-base}
for tool in buildah debootstrap; do
  command -v "$tool" > /dev/null || { echo "$0 needs $tool: apt-get install $tool" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "$0 needs root, which debootstrap needs" >&2; exit 2; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
debootstrap --variant=minbase --include=ca-certificates,python3,python3-pip,python3-venv bookworm "$folder" ${DEBIAN_MIRROR:-} > "$folder.log" 2>&1 \
  || { tail -n 20 "$folder.log" >&2; echo "debootstrap failed; its log is $folder.log" >&2; exit 1; }
rm -f "$folder.log" "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/*_*
# Without this file `pip install` works as in Python's own images.
rm -f "$folder"/usr/lib/python3*/EXTERNALLY-MANAGED
container=$(buildah from scratch)
trap 'rm -rf "$folder"; buildah rm "$container" > /dev/null' EXIT
buildah copy --quiet "$container" "$folder" / > /dev/null
buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd python3 "$container"
buildah commit --quiet "$container" "$name" > /dev/null
echo "$name"
