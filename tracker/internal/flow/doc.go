// Package flow names what a segment is of, its flow, and keeps what is known of
// flows where it is found in one look at the memory.
package flow
