// Package lab judges tcpwatch by a real kernel. Two network namespaces are two
// hosts, between them a wire in user space loses, delays, repeats, holds back
// and forges packets as a script says, and while real sockets talk over it, the
// kernel is asked what state they are in. What both hosts captured is then
// given to the tracker, which must say the same (package oracle).
//
// The stories are in testdata/stories, a page each; package story has their
// language and the wire, package trial judges what came of them. Others are made up at
// random. Servers that misbehave, and their healthy twins, are replayed as a user
// would (servers_test.go). It is all behind the build tag lab:
//
//	sudo go test -tags lab ./cmd/lab
//
// Package gvisor, a module of its own, plays the same stories with another TCP.
package lab
