// Package conn is the machine that moves the ends of connections. It says
// nothing: a Listener is told what happens.
//
// Machine.Observe first fires the timers that are due (tick), and then takes the
// segment through five stages, in one direction:
//
//	find   which connection, which incarnation  machine.go, flows.go
//	         drops what the capture has twice   package duplicates
//	         chooses among the incarnations     incarnation.go
//	read   what its numbers say                 note.go (Conn.Read)
//	         of the capture itself              package health
//	gate   whether its receiver takes it        accept.go, held.go
//	         whether a RST is accepted          reset.go
//	move   both views, along the table          view.go (Machine.take)
//	         what its sender did by it          sent.go
//	         what was received, and was not     received.go
//	         what the capture misses            gap.go
//	         sequence numbers                   note.go (Conn.note)
//	         steps, and striking them out       history.go, package history
//	         the states: written there alone    package endpoint, states.go
//	         where captures of several places   leg.go
//	         have it leave, and come near
//	tell   what the checks are shown            scene.go
//	         when they are asked                triggers.go, guards.go
//	         what they ask of the past          look_back.go, look_back_closing.go
//	         the sockets after it, if asked for seen.go
//
// What these do for an ordinary segment of an ordinary connection is learned once, and
// followed from then on (learned.go): it depends on the form of the connection and on
// the class of the segment (form.go) alone.
//
// Timers (timers.go) and ICMP errors (reset.go) come in at gate.
//
// What is kept of a connection is a Conn (conn.go) with two Ends (package endpoint).
// What only unusual ones need hangs on it: segments of an older connection
// (stale_segment.go), a segment that its receiver doubts (challenge.go), sending
// without an answer (stalls.go, as package stalls has it). The newest segments of all connections
// together are in recent_segments.go, as package recent has them. Where there is
// no room left, evict.go says which connection goes.
//
// The table of states is package tcp's, the flow table package flow's, and the
// ports that listen are package listeners'.
package conn
