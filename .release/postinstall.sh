#!/bin/sh
# After a .deb or .rpm is installed: a copy of tcpwatch that may capture, which
# only the group tcpwatch can run. "tcpwatch live" hands over to it. A file gives
# its capabilities to everyone who can run it, so /usr/bin/tcpwatch, which reads
# captures for everyone, has none. The group begins without members.
#
# Reading captures needs none of this, so a failure fails no installation.
set -eu
dir=/usr/lib/tcpwatch
able=$dir/tcpwatch

give() {
	groupadd -f -r tcpwatch &&
		mkdir -p "$dir" &&
		cp /usr/bin/tcpwatch "$able.new" &&
		chgrp tcpwatch "$able.new" && # before setcap: it clears capabilities
		chmod 0750 "$able.new" &&
		setcap cap_net_raw=ep "$able.new" &&
		mv "$able.new" "$able"
}

case "${1:-}" in
abort-*) ;; # what was there has stayed
*)
	umask 022
	if ! give; then
		rm -f "$able.new" "$able"
		echo "tcpwatch: capturing takes root: could not give the capability to the group tcpwatch" >&2
	fi
	;;
esac
