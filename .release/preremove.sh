#!/bin/sh
# Before a .deb ("remove") or .rpm (0) is removed, not upgraded: what
# postinstall.sh has made, except the group.
set -eu
case "${1:-}" in
remove | 0) rm -rf /usr/lib/tcpwatch ;;
esac
