// Package hub carries segments from sensors to those who read them, over a stream of
// NATS JetStream: one of a server that runs within tcpwatch ([Serve]), or any other.
//
//	capture -> Sensor -> wire -> stream -> Source -> Segments, as a capture gives them
//
// A sensor has a name, and a run each time it is started. It numbers its messages by
// run and partition, and sends again what was not acknowledged and all behind it, so a
// message may be there more than once, and in the stream two may be the wrong way
// round; who reads takes each number once, in order. The subject of a message is
//
//	tcpwatch.segments.PARTITION.SENSOR.RUN
//
// with the run in hexadecimal. A partition has its share of the connections, both
// directions, at all sensors. What all must know is in the metadata of the stream: the
// version of the messages, the number of partitions, the key that hashes payloads.
//
//	hub.go     connects, makes the stream
//	sensor.go  sends
//	strand.go  puts the messages of a run in order
//	source.go  reads what is stored, of all sensors as one
//	follow.go  reads on, as it comes
//	sensors.go  who sends
//	serve.go   the server within tcpwatch
//	store.go   starts it again when its disk was full
//	keys.go    who has a key
//	permit.go  and may do what
package hub
