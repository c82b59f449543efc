// Package taps reads captures of the same traffic that were made at two or more
// places, and hands out one stream of segments.
//
// Of what a capture says of another nothing is trusted but the packets that both have:
//
//	captures -> survey  which packets they share; which host is nearer to which tap;
//	                    how their clocks run
//	captures -> match   side by side, by one clock: which record is of which packet,
//	                    through NAT and what else changes headers on the way
//	         -> judge   what became of those that a capture lacks: lost, missed by
//	                    the capture, copied, forged
//	         -> emit    each tap's own order, and nothing comes near before it left
//
// A packet has one number. If both outer taps have it, it is handed out when it left
// its sender's tap ([tcp.Left]) and when it came near its receiver's ([tcp.Neared]);
// one that was lost only when it left, and one that was copied or forged only when it
// came near. All others are handed out once ([tcp.Passing]), and whether they arrived
// is left to who follows them. What happened to a packet comes with its first segment,
// as its [tcp.Twin].
//
// Nothing is called lost or forged that a gap in a capture explains: captures begin and
// end at different times, have one direction only, and miss packets. Where the packets
// cannot tell, the fate is unknown. Two things are taken for granted: that captures ran
// at the same time unless one shows packets that must have come by another, and that the
// captures lie on one path.
//
// The captures are read twice, so they must be files; a third time where a firewall
// changes all sequence numbers, or each direction is at another tap. Memory is bounded:
// by 131,072 records that wait for what another tap has, some 80 MB, by 65,536
// connections of some 2 KB, and by samples of 16,384 packets of each capture.
package taps
