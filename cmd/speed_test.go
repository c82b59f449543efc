package cmd

import (
	"bufio"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkReplay measures the CPU time of "replay -o summary" against that of
// "tcpdump -nr FILE -w /dev/null tcp" on the same file, one after the other.
// The metric x/tcpdump is the ratio. Without tcpdump there is no ratio.
func BenchmarkReplay(b *testing.B) {
	dir := b.TempDir()
	program := filepath.Join(dir, "tcpwatch")
	if out, err := exec.Command("go", "build", "-o", program, "..").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	for _, traffic := range []struct {
		name             string
		flows, exchanges int
		payload          int
	}{
		{"long-flows", 8, 50_000, 1448},
		{"small-packets", 1000, 400, 64},
		{"short-connections", 40_000, 2, 400},
	} {
		b.Run(traffic.name, func(b *testing.B) {
			file := filepath.Join(dir, traffic.name+".pcap")
			packets := writeTraffic(b, file, traffic.flows, traffic.exchanges, traffic.payload)
			ours, theirs := time.Duration(1<<62), time.Duration(1<<62)
			for b.Loop() {
				ours = min(ours, cpu(b, program, "replay", "-o", "summary", file))
				if _, err := exec.LookPath("tcpdump"); err == nil {
					theirs = min(theirs, cpu(b, "tcpdump", "-nr", file, "-w", "/dev/null", "tcp"))
				}
			}
			b.ReportMetric(float64(ours.Nanoseconds())/float64(packets), "ns/packet")
			if theirs < 1<<62 {
				b.ReportMetric(float64(ours)/float64(theirs), "x/tcpdump")
			}
		})
	}
}

// cpu runs a command and returns the CPU time it took, user and system.
func cpu(b *testing.B, name string, args ...string) time.Duration {
	c := exec.Command(name, args...)
	if err := c.Run(); err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	return c.ProcessState.UserTime() + c.ProcessState.SystemTime()
}

// writeTraffic writes a capture of TCP connections, all open at once: each
// with a handshake, data and ACKs in turn, and a close. It returns the number
// of packets.
func writeTraffic(b *testing.B, path string, flows, exchanges, payload int) (packets int) {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	le := binary.LittleEndian
	header := make([]byte, 24)
	le.PutUint32(header, 0xa1b23c4d) // nanoseconds
	le.PutUint16(header[4:], 2)
	le.PutUint16(header[6:], 4)
	le.PutUint32(header[16:], 1<<18)
	le.PutUint32(header[20:], 1) // Ethernet
	w.Write(header)
	frame := make([]byte, 16+14+20+20+payload)
	now := time.Unix(1_700_000_000, 0).UnixNano()
	be := binary.BigEndian
	send := func(flow int, fromClient bool, seq, ack uint32, flags byte, data int) {
		now += 1000
		packets++
		n := 54 + data
		le.PutUint32(frame, uint32(now/1e9))
		le.PutUint32(frame[4:], uint32(now%1e9))
		le.PutUint32(frame[8:], uint32(n))
		le.PutUint32(frame[12:], uint32(n))
		ip, tcp := frame[30:], frame[50:]
		be.PutUint16(frame[28:], 0x0800)
		ip[0], ip[8], ip[9] = 0x45, 64, 6
		be.PutUint16(ip[2:], uint16(40+data))
		be.PutUint16(ip[4:], uint16(packets))
		client, server := uint32(0x0a000000+flow/40000), uint32(0xc0a80001)
		sport, dport := uint16(20000+flow%40000), uint16(80)
		if !fromClient {
			client, server, sport, dport = server, client, dport, sport
		}
		be.PutUint32(ip[12:], client)
		be.PutUint32(ip[16:], server)
		be.PutUint16(tcp, sport)
		be.PutUint16(tcp[2:], dport)
		be.PutUint32(tcp[4:], seq)
		be.PutUint32(tcp[8:], ack)
		tcp[12], tcp[13] = 5<<4, flags
		be.PutUint16(tcp[14:], 65535)
		w.Write(frame[:16+n])
	}
	const fin, syn, ack = 1, 2, 16
	for i := range flows {
		send(i, true, 100, 0, syn, 0)
		send(i, false, 300, 101, syn|ack, 0)
		send(i, true, 101, 301, ack, 0)
	}
	seq := uint32(101)
	for range exchanges {
		for i := range flows {
			send(i, true, seq, 301, ack, payload)
			send(i, false, 301, seq+uint32(payload), ack, 0)
		}
		seq += uint32(payload)
	}
	for i := range flows {
		send(i, true, seq, 301, fin|ack, 0)
		send(i, false, 301, seq+1, fin|ack, 0)
		send(i, true, seq+1, 302, ack, 0)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return packets
}
