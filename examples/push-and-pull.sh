#!/usr/bin/env bash
# Pushes an image to a registry, pulls it back, and compares the digests.
#
#     pier serve &
#     examples/push-and-pull.sh localhost:5000
#
# Needs skopeo, tar, gzip and sha256sum. The image is made here, of one layer with one file, so nothing is fetched from elsewhere.
set -euo pipefail
registry=${1:?"usage: $0 HOST:PORT"}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# Stores a file as a blob of an OCI image layout and prints its descriptor.
add() {
    local media_type=$1 file=$2 hex
    hex=$(sha256sum "$file" | cut -d' ' -f1)
    cp "$file" "layout/blobs/sha256/$hex"
    printf '{"mediaType":"%s","digest":"sha256:%s","size":%d}' "$media_type" "$hex" "$(stat -c %s "$file")"
}

mkdir -p layout/blobs/sha256
echo '{"imageLayoutVersion":"1.0.0"}' >layout/oci-layout

echo 'hello from an image' >greeting
tar --create --file layer.tar greeting
diff_id=$(sha256sum layer.tar | cut -d' ' -f1)
gzip --no-name layer.tar
layer=$(add application/vnd.oci.image.layer.v1.tar+gzip layer.tar.gz)

echo '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:'"$diff_id"'"]}}' >config.json
config=$(add application/vnd.oci.image.config.v1+json config.json)

type=application/vnd.oci.image.manifest.v1+json
echo '{"schemaVersion":2,"mediaType":"'$type'","config":'"$config"',"layers":['"$layer"']}' >manifest.json
manifest=$(add $type manifest.json)
echo '{"schemaVersion":2,"manifests":['"$manifest"']}' >layout/index.json
pushed=sha256:$(sha256sum manifest.json | cut -d' ' -f1)

# `--preserve-digests`: what is pushed is what was made, or nothing.
copy=(skopeo --insecure-policy copy --quiet --preserve-digests)
"${copy[@]}" --dest-tls-verify=false oci:layout "docker://$registry/examples/greeting:1"
"${copy[@]}" --src-tls-verify=false "docker://$registry/examples/greeting@$pushed" dir:back

# Every file that came back is called by its digest, and the manifest is the one that was pushed.
echo "${pushed#sha256:}  back/manifest.json" | sha256sum --check --quiet
for blob in layout/blobs/sha256/*; do
    name=$(basename "$blob")
    [[ $name == "${pushed#sha256:}" ]] || cmp "$blob" "back/$name"
done
tar --extract --gzip --to-stdout --file "back/$(sha256sum layer.tar.gz | cut -d' ' -f1)" greeting
echo "pushed and pulled $pushed"
