package cmd

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// parseMoment reads the moment of a flag: an RFC 3339 time, +12.5s from the first
// packet of the capture, or #1234, a frame.
func parseMoment(flag, text string) (u capture.Moment, err error) {
	switch {
	case text == "":
		return u, nil
	case strings.HasPrefix(text, "#"):
		if u.Packet, err = strconv.Atoi(text[1:]); err == nil && u.Packet > 0 {
			return u, nil
		}
	case strings.HasPrefix(text, "+"):
		if u.After, err = time.ParseDuration(text[1:]); err == nil && u.After >= 0 {
			u.Relative = true
			return u, nil
		}
	default:
		var at time.Time
		if at, err = time.Parse(time.RFC3339Nano, text); err == nil {
			u.Time = tcp.Time(at.UnixNano())
			return u, nil
		}
	}
	return u, fmt.Errorf("--%s %q: not a valid time; use an RFC 3339 time (2026-01-02T15:04:05Z), +12.5s after the first packet, or #1234 for that frame", flag, text)
}
