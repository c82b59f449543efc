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
// One segment takes this way through the package:
//
//	Tracker.Observe       in these steps:                     tracker.go
//	  tick                fires the timers that are due       timers.go
//	  find                which connection, which incarnation
//	    recent.repeats    drops what the capture saw twice    duplicate.go
//	    steady            takes in what moves nothing         steady.go
//	    choose            among the incarnations              incarnation.go
//	  examine             what it tells of the capture        tape.go
//	  gate                whether it counts
//	  move                what it moves:                      view.go
//	    watchGaps         what the capture misses             gap.go
//	    note              sequence numbers                    endpoint.go
//	    observeRST        a reset, told by its numbers        reset.go
//	    apply             an end, along the table             history.go, states.go
//	    judge             and what is odd about it            anomaly.go
//	  saw                 the states after it, if asked for   seen.go
//	Crowd.Event           what is odd over many connections   crowd.go
//
// The package reads no clock, starts no goroutine and prints nothing. Its time
// is the capture's. It imports the standard library only.
package tracker
