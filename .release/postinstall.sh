#!/bin/sh
# After the .deb is installed: who may run tcpwatch may capture without root.
# Reading files needs none of this, so that a failure fails no installation.
set -e
if [ "$1" = configure ] && ! setcap cap_net_raw=ep /usr/bin/tcpwatch; then
	echo "tcpwatch: capturing needs root: the capability could not be set" >&2
fi
