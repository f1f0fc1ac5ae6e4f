#!/usr/bin/env bash
# A test in shell against a registry with real images.
#
#     pier testdata init alpine:3.22=alpine:3.22
#     examples/real-registry/test.sh alpine 3.22
#
# Needs curl and sha256sum. PIER names the program, TESTDATA the folder of images.
set -euo pipefail
repository=${1:?"usage: $0 REPOSITORY TAG"} tag=${2:?"usage: $0 REPOSITORY TAG"}

# The registry as a child: one line of JSON when it is ready, and it ends when its standard input does, however this script ends.
coproc registry { "${PIER:-pier}" testdata run --json --auth tester --storage-dir "${TESTDATA:-testdata}"; }
registry_pid=$registry_PID
read -r line <&"${registry[0]}"
field() { sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/" <<<"$line"; }
url=$(field url) login=$(field username):$(field password)

# What is tested: whatever asks a registry. Here that is curl.
accept='Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json'
ask() { curl --silent --show-error --header "$accept" "$@"; }
manifest() { ask --fail --user "$login" "$url/v2/$repository/manifests/$1"; }

refused=$(ask --output /dev/null --write-out '%{http_code}' "$url/v2/$repository/manifests/$tag")
[[ $refused == 401 ]] || { echo "without a login it said $refused"; exit 1; }

digest=sha256:$(manifest "$tag" | sha256sum | cut -d' ' -f1)
said=$(ask --head --user "$login" "$url/v2/$repository/manifests/$tag" | tr -d '\r' | sed -n 's/^docker-content-digest: //Ip')
[[ $digest == "$said" ]] || { echo "its bytes are $digest, it said $said"; exit 1; }
cmp <(manifest "$tag") <(manifest "$digest")

# The end of its input is its end.
eval "exec ${registry[1]}>&-"
wait "$registry_pid"
echo "$repository:$tag is $digest"
