#!/bin/sh
# Writes the manual pages and the completions to .release/out.
set -eu
cd "$(dirname "$0")/.."
out=.release/out
rm -rf "$out"
mkdir -p "$out/man" "$out/completions"
CGO_ENABLED=0 go build -o "$out/tcpwatch" .
"$out/tcpwatch" man >"$out/man/tcpwatch.1"
for command in $("$out/tcpwatch" __complete '' 2>/dev/null | cut -f1 | grep '^[a-z]'); do
	case $command in completion | help) continue ;; esac
	"$out/tcpwatch" man "$command" >"$out/man/tcpwatch-$command.1"
done
for shell in bash zsh fish; do
	"$out/tcpwatch" completion "$shell" >"$out/completions/tcpwatch.$shell"
done
rm "$out/tcpwatch"
