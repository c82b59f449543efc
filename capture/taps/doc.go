// Package taps reads captures of the same traffic that were made at two or more
// places, and hands out one stream of segments.
//
// Nothing that a capture says of another is trusted but the packets that both have:
//
//	captures -> survey  which packets they share; which host is nearer to which tap;
//	                    how their clocks run
//	captures -> match   side by side, by one clock: which record is of which packet,
//	                    through NAT and what else changes headers on the way
//	         -> judge   what became of those that a capture lacks: lost, missed by
//	                    the capture, copied, forged
//	         -> merge   each tap's own order, and nothing comes near before it left
//
// The captures are read twice, so they must be files. Memory is bounded by a window
// of packets whose fate is not known yet, and by what is kept of each connection.
package taps
