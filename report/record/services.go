package record

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// serviceRows are the words for what rows of services are of, by services.By.
var serviceRows = []string{services.ByServer: "server", services.ByClient: "client", services.ByProcess: "process"}

// ServiceRows returns what ParseServiceRows takes.
func ServiceRows() []string { return slices.Clone(serviceRows) }

// ParseServiceRows reads what rows of services are of.
func ParseServiceRows(by string) (services.By, error) {
	i := slices.Index(serviceRows, by)
	if i < 0 {
		return 0, fmt.Errorf("--by %q: must be %s", by, strings.Join(serviceRows, ", "))
	}
	return services.By(i), nil
}

// appendServices appends rows of services as an array.
func appendServices(b []byte, rows []services.Row) []byte {
	b = append(b, '[')
	for i := range rows {
		b = appendService(text.AppendComma(b), &rows[i])
	}
	return append(b, ']')
}

// appendService appends a row: of a service with its port, of a client host without, of a
// program with its name, and of the others with how many they are.
func appendService(b []byte, r *services.Row) []byte {
	b = append(b, '{')
	if r.Others > 0 {
		b = appendInt(appendKey(b, "others"), r.Others)
	} else if r.Program != "" {
		b = text.AppendString(appendKey(b, "process"), r.Program)
	} else {
		b = text.AppendString(appendKey(b, "addr"), r.Addr.Addr().String())
		if r.Addr.Port() != 0 {
			b = appendInt(appendKey(b, "port"), int(r.Addr.Port()))
		}
		if len(r.Names) > 0 {
			b = append(appendKey(b, "names"), '[')
			for _, name := range r.Names {
				b = text.AppendString(text.AppendComma(b), name)
			}
			b = append(b, ']')
		}
	}
	b = appendInt(appendKey(b, "connections"), r.Connections)
	b = appendInt(appendKey(b, "open"), r.Open)
	b = appendEnds(appendKey(b, "close_wait"), r.CloseWait)
	if r.CloseWait != [2]int{} {
		b = text.AppendSeconds(appendKey(b, "oldest"), r.OldestCloseWait)
	}
	b = append(b, '}')
	b = append(appendEnds(appendKey(b, "peer_closed"), r.PeerClosed), '}')
	b = append(appendEnds(appendKey(b, "time_wait"), r.TimeWait), '}')
	b = appendInt(appendKey(b, "refused"), r.Refused)
	b = appendInt(appendKey(b, "timed_out"), r.TimedOut)
	b = append(appendKey(b, "reset_by"), '{')
	for by := tcp.ResetByClient; by < tcp.NumResetBy; by++ {
		b = appendInt(appendKey(b, by.String()), r.ResetBy[by])
	}
	b = append(b, '}')
	b = appendEnds(appendKey(b, "closed_by"), r.ClosedBy)
	b = append(appendInt(appendKey(b, "both"), r.ClosedByBoth), '}')
	b = appendUint(appendKey(b, "packets"), r.Segments)
	b = appendUint(appendKey(b, "retransmits"), r.Retransmits)
	b = strconv.AppendFloat(appendKey(b, "retransmitted_share"), r.RetransmittedShare(), 'g', 3, 64)
	if h := &r.Handshakes; h.N() > 0 {
		b = appendInt(append(appendKey(b, "handshake_rtt"), `{"count":`...), h.N())
		b = text.AppendSeconds(appendKey(b, "p50"), h.Quantile(0.5))
		b = append(text.AppendSeconds(appendKey(b, "p99"), h.Quantile(0.99)), '}')
	}
	b = append(appendKey(b, "anomalies"), '{')
	for _, kind := range slices.Sorted(maps.Keys(r.Kinds)) {
		b = append(text.AppendString(text.AppendComma(b), kind), ':')
		b = appendInt(b, r.Kinds[kind])
	}
	return append(b, "}}"...)
}

// appendEnds appends a pair by end, and leaves the object open.
func appendEnds(b []byte, of [2]int) []byte {
	b = appendInt(append(b, `{"client":`...), of[tcp.Client])
	return appendInt(appendKey(b, "server"), of[tcp.Server])
}
