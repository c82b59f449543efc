#!/bin/sh
# After a .deb is purged, or an .rpm (0) is removed: the group. A .deb that is
# only removed leaves it, with its members, as it leaves other settings.
set -eu
case "${1:-}" in
purge | 0)
	if getent group tcpwatch >/dev/null; then
		groupdel tcpwatch || true # it may have become somebody's main group
	fi
	;;
esac
