// Package tcp has the terms of TCP that all of tcpwatch speaks in: a Segment as
// it was captured, its notation (RFC 9293 §3.5), sequence numbers, the eleven
// states, and the table of the moves between them (RFC 9293 §3.3.2). It knows
// nothing of connections.
package tcp
