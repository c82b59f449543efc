package watch

import "github.com/tcpwatch/tcpwatch/tracker/crossflow"

// Bounds of what is kept beside the connections. Bounded counts what did not fit.
const (
	MaxHosts       = crossflow.MaxHosts    // see there, as for the next
	MaxRoutes      = crossflow.MaxRoutes   //
	MaxTargets     = crossflow.MaxTargets  //
	MaxScanTargets = crossflow.MaxAttempts // of one scan
	MaxPairs       = crossflow.MaxLegs / 2 //
	MaxNames       = mostOfNames           // octets of names of hosts, and of owners that comments tell
	MaxAsked       = mostFlows             // connections whose sockets are asked for
)

// Bounded counts what a run left out to stay within bounds, beside what the capture and
// the tracker count.
type Bounded struct {
	crossflow.Bounded
	Names   uint64 // of hosts, and owners, that were forgotten
	Unasked uint64 // connections whose sockets were not asked for
}

// bounded returns what was left out.
func (w *Watch) bounded() Bounded {
	b := Bounded{Bounded: w.crowd.Bounded(), Names: w.names.answers.dropped + w.names.calls.dropped + w.names.owners.dropped}
	if w.locals != nil {
		b.Unasked = w.locals.unasked
	}
	return b
}
