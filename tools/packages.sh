#!/bin/sh
# Install those Debian packages of a list that are missing; root (or sudo) is only needed for that.
set -eu
missing=$(for package in $(cat "$@"); do
	dpkg-query --show --showformat='${Status}\n' "$package" 2>/dev/null | grep -q ' installed$' || echo "$package"
done)
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] && as= || as=sudo
echo "Installing from Debian:" $missing
$as apt-get update -qq
$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
