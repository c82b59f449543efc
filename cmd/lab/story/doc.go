// Package story has what the labs share: the language of stories (Script), an
// author who makes them up at random (Random), the wire that loses, delays,
// repeats, holds back and forges packets as a story says (Wire), and the play
// itself (Conversation), after which it writes the captures of both hosts and
// the truth about their states, as package oracle reads them.
//
// A lab brings the hosts (Host), and the time they live in (Clock).
package story
