#!/usr/bin/env bash
# Prints the image to launch, if it is approved, and tells apart why not.
#
#     examples/verify-before-launch.sh ghcr.io/owner/app:latest approved.json [release.key.pub]
#
# In place of `echo`, launch it: podman run "$image".
set -euo pipefail
name=${1:?"usage: $0 IMAGE APPROVED [KEY]"}
approved=${2:?"usage: $0 IMAGE APPROVED [KEY]"}
key=${3:+--key=$3}

status=0
image=$(pier verify "$name" --approved "$approved" ${key:+"$key"} --attempts 20 --interval 1 --timeout 10) || status=$?
case $status in
0) echo "$image" ;;
1) echo "not approved: $name" >&2 ;;
3) echo "the registry did not answer, try again later" >&2 ;;
4) echo "somebody changed the image: do not launch it" >&2 ;;
5) echo "the list of approved digests is not to be trusted" >&2 ;;
*) echo "cannot verify $name" >&2 ;;
esac
exit $status
