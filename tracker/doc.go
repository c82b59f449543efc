// Package tracker works out, from captured segments alone, which of the eleven
// states of RFC 9293 both ends of every TCP connection are in.
//
// A bystander sees a segment pass; it does not see it arrive. So every
// connection is read twice, over the same transition table (package tcp).
// In the assumed view a segment arrives the moment it is captured, until a
// later segment refutes that. In the proved view it arrives when its
// receiver's own later segments show that it did. The proved view is never
// ahead of the truth, as long as nobody forges segments that their receiver
// refuses; the assumed view is right unless something was lost behind the tap
// and nothing has shown it yet.
//
// A program makes a Tracker with New, hands it the segments of a capture with
// Observe, and is told Events: a state that changed, an anomaly, a connection
// that is over. Each gives the connections as they are now, Close those that are
// left at the end. Who has a capture rather than segments calls package
// cmd/watch, which reads it, tracks it and adds what is odd over many
// connections.
//
// The package reads no clock, starts no goroutine and prints nothing. Its time
// is the capture's. It imports the standard library only.
//
// It joins these rooms:
//
//	tracker/tcp            the terms: segments, states, the transition table
//	tracker/internal/conn  the machine: from a segment to the states of the ends
//	tracker/anomaly        what is odd about a connection
//	tracker/crossflow      what is odd over many; takes a Tracker's Events
//	tracker/oracle         for tests: captures of kernels that knew their states
package tracker
