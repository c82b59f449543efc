//go:build !libpcap && !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd && !(windows && (amd64 || 386))

package live

import (
	"fmt"
	"runtime"
)

// By names how this build captures on interfaces: it cannot.
const By = "none"

// Open has nothing to open on this system.
func Open(Options) (Tap, error) {
	return nil, fmt.Errorf("this build cannot capture on interfaces (%s/%s); pipe a capture in: tcpdump -U -w - | tcpwatch live -i -", runtime.GOOS, runtime.GOARCH)
}
