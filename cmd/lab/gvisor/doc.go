// Package gvisor judges tcpwatch by gVisor's netstack, a TCP that has nothing
// of Linux's. Two stacks and the wire between them are in one process, and
// their time is virtual, so that minutes pass in a moment. They play the
// stories of the lab (../testdata/stories), and others made up at random.
//
// It is a module of its own, so that tcpwatch does not depend on gVisor. It
// needs no rights:
//
//	cd cmd/lab/gvisor && go test . -v
package gvisor
