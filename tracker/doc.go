// Package tracker works out, from captured segments alone, which of the eleven
// states of RFC 9293 both ends of every TCP connection are in.
//
// A bystander sees a segment pass; it does not see it arrive. So every
// connection is read twice, over the same transition table (transitions.go).
// In the assumed view a segment arrives the moment it is captured, until a
// later segment refutes that. In the proved view it arrives when its
// receiver's own later segments show that it did. The proved view is never
// ahead of the truth; the assumed view is right unless something was lost
// behind the tap and nothing has shown it yet.
//
// One segment takes this way through the package:
//
//	Tracker.Observe       fires the timers that are due       tracker.go
//	  tape                watches the capture itself          tape.go
//	  recent.repeats      drops what the capture saw twice    duplicate.go
//	  Tracker.choose      finds the incarnation it belongs to incarnation.go
//	  Conn.observe        what it tells of its sender ...     view.go
//	    Conn.watchGaps    ... of what the capture misses      gap.go
//	    end.note          ... and of sequence numbers         endpoint.go
//	    Conn.observeRST   a reset, told by its numbers        reset.go
//	    Conn.apply        moves an end along the table        history.go
//	  catalogue           the anomalies                       anomaly.go
//	  Tracker.saw         the states after it, if asked for   seen.go
//	Crowd.Event           those over many connections         crowd.go
//
// The package reads no clock, starts no goroutine and prints nothing. Its time
// is the capture's. It imports the standard library only.
package tracker
