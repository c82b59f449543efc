package cmd

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/who"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"tcpwatch": func() { os.Exit(Main()) },
	})
}

// The scripts in testdata/script are what users type and what comes back.
// UPDATE=1 rewrites what they compare with.
func TestScripts(t *testing.T) {
	pcaps, err := filepath.Abs("../pcaps")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PCAPS", pcaps)
			env.Setenv("ME", strconv.Itoa(os.Geteuid())) // who stays who he is
			return writeCaptures(env.WorkDir, filepath.Join(pcaps, "normal-close.pcap"))
		},
	})
}

// writeCaptures writes into a directory what a capture would be otherwise: late.pcap,
// whose first packet is behind the third, netmon.cap, of Network Monitor, and named.pcapng,
// which calls 10.9.0.2 web.example behind its packets, and says whose the client is.
func writeCaptures(dir, of string) error {
	b, err := os.ReadFile(of)
	if err != nil {
		return err
	}
	const header, recordHeader = 24, 16
	le := binary.LittleEndian
	var records [][]byte
	for rest := b[header:]; len(rest) > 0; {
		n := recordHeader + int(le.Uint32(rest[8:]))
		records, rest = append(records, rest[:n]), rest[n:]
	}
	late := slices.Concat(b[:header], records[1], records[2], records[0], slices.Concat(records[3:]...))

	netmon, places := make([]byte, 128), []byte(nil)
	copy(netmon, "GMBU\x00\x02\x01\x00\xea\x07\x0b\x00\x05\x00\x14\x00") // version 2.0, Ethernet, 2026-11-20
	begin := le.Uint32(records[0])
	for _, r := range records {
		places = le.AppendUint32(places, uint32(len(netmon)))
		netmon = le.AppendUint64(netmon, uint64(le.Uint32(r)-begin)*1e6+uint64(le.Uint32(r[4:])/1e3))
		netmon = le.AppendUint32(le.AppendUint32(netmon, le.Uint32(r[12:])), le.Uint32(r[8:]))
		netmon = append(netmon, r[recordHeader:]...)
	}
	le.PutUint32(netmon[24:], uint32(len(netmon)))
	le.PutUint32(netmon[28:], uint32(len(places)))

	var named pcap.Blocks
	named.Section("a test")
	named.Interface("", pcap.LinkEthernet, 0)
	for i, r := range records {
		at := tcp.Time(le.Uint32(r))*1e9 + tcp.Time(le.Uint32(r[4:]))
		comment := ""
		if i == 3 {
			ports := records[0][recordHeader+34:]
			client, server := netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), binary.BigEndian.Uint16(ports)), netip.AddrPortFrom(netip.MustParseAddr("10.9.0.2"), binary.BigEndian.Uint16(ports[2:]))
			comment = "a note\n" + who.Comment(tcp.Time(le.Uint32(records[0]))*1e9+tcp.Time(le.Uint32(records[0][4:])), client, server, &tcp.Owner{Source: tcp.FromSocket, PID: 1234, Program: "curl", User: "alice"})
		}
		named.Packet(0, &pcap.Record{Data: r[recordHeader:], Wire: int(le.Uint32(r[12:])), Time: at}, comment)
	}
	names := "\x04\x00\x00\x00\x20\x00\x00\x00" + "\x01\x00\x10\x00\x0a\x09\x00\x02web.example\x00" + "\x20\x00\x00\x00"
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "named.pcapng"), append(named.Bytes(), names...), 0o666),
		os.WriteFile(filepath.Join(dir, "late.pcap"), late, 0o666),
		os.WriteFile(filepath.Join(dir, "netmon.cap"), append(netmon, places...), 0o666))
}
