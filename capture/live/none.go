//go:build !libpcap && !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd && !(windows && (amd64 || 386))

package live

import (
	"fmt"
	"runtime"
)

// Open has nothing to open on this system.
func Open(Options) (Tap, error) {
	return nil, fmt.Errorf("this build cannot capture on interfaces (%s/%s); pipe a capture in: tcpdump -U -w - | tcpwatch live -i -", runtime.GOOS, runtime.GOARCH)
}
