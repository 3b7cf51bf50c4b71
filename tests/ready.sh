#!/bin/sh
# Says whether a tag may be released:  sh tests/ready.sh v1.2.3
set -eu
cd "$(dirname "$0")/.."
tag=$1
version=$(sed -n 's/^#define NETNS_VERSION "\(.*\)"/\1/p' csrc/netns.h)
failed=0
say() {
	echo "not ready: $1" >&2
	failed=1
}
[ "$tag" = "v$version" ] || say "the tag is $tag, netns.h has $version"
grep -q "^## \[$version\] - [0-9-]*$" CHANGELOG.md || say "CHANGELOG.md has no dated section [$version]"
grep -q "SECURITY-CONTACT" SECURITY.md && say "SECURITY.md has no contact yet: see the comment there"
if grep -nE '(//|@)[^ ">]*\.invalid' pyproject.toml debian/control debian/changelog; then
	say "these addresses are placeholders"
fi
exit "$failed"
