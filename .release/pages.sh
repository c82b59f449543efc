#!/bin/sh
# Writes the manual pages and the completions to .release/out.
set -eu
cd "$(dirname "$0")/.."
out=.release/out
rm -rf "$out"
mkdir -p "$out/man" "$out/completions"
CGO_ENABLED=0 go build -o "$out/tcpwatch" .
commands() { "$out/tcpwatch" __complete "$@" '' 2>/dev/null | cut -f1 | grep '^[a-z]' | grep -vx help; }
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) # the date that pages bear
export SOURCE_DATE_EPOCH
"$out/tcpwatch" man >"$out/man/tcpwatch.1"
for command in $(commands); do
	"$out/tcpwatch" man "$command" >"$out/man/tcpwatch-$command.1"
done
for shell in $(commands completion); do
	"$out/tcpwatch" man completion "$shell" >"$out/man/tcpwatch-completion-$shell.1"
done
gzip -9n "$out"/man/*.1
for shell in bash zsh fish; do
	"$out/tcpwatch" completion "$shell" >"$out/completions/tcpwatch.$shell"
done
rm "$out/tcpwatch"
