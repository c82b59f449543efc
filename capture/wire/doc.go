// Package wire writes segments down for another machine, and reads them again: what
// a sensor saw, some 20 octets for each segment, and nothing of what they carry.
//
// A message stands for itself:
//
//	octet      version
//	8 octets   run of the sensor, most significant octet first
//	uvarint    number of the message in that run
//	varint     mark: a time, no segment behind this message is earlier
//	uvarint    how many segments of the run all behind this message come after
//	varint     when it was sent, by the clock of the sensor; 0: that does not capture now
//	octet      bit 0: the run ends here
//	uvarint    length of what the sensor says of itself, and that
//	the rest   segments, compressed with zstd; nothing: there are none
//
// The segments are written in columns, of which each has what is alike: a column of
// numbers mostly has the same few. A number that goes on as it did in the segment
// before, of the same sender in the same connection, is 0. What hardly ever changes is
// written once in a message, and then named by a number (shape).
//
// A message is read by the version that wrote it and by all later ones.
package wire
