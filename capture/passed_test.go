package capture

import (
	"encoding/binary"
	"slices"
	"testing"
)

// ethernetOf is a pcap file of frames of these Ethernet types, with nothing that
// is known behind them.
func ethernetOf(kinds ...uint16) []byte {
	file := []byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x01\x00\x00\x00")
	for i, kind := range kinds {
		frame := binary.BigEndian.AppendUint16(make([]byte, 12), kind)
		frame = append(frame, make([]byte, 46)...)
		for _, n := range []int{i, 0, len(frame), len(frame)} {
			file = binary.LittleEndian.AppendUint32(file, uint32(n))
		}
		file = append(file, frame...)
	}
	return file
}

// passedIn reads a file and returns what was counted.
func passedIn(t *testing.T, content []byte) Stats {
	s := open(t, Options{}, file(t, "x.pcap", content))
	for _, err := range s.Segments() {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s.Stats()
}

func TestWhatIsNotOpenedIsCounted(t *testing.T) {
	const arp, macsec, unknown = 0x0806, 0x88e5, 0x7777
	kinds := []uint16{arp, unknown, macsec, unknown, 0x0c00}
	content := ethernetOf(kinds...)
	content[24+2*(16+60)+16+14] = 0x0c // the security tag says that what follows is encrypted
	st := passedIn(t, content)
	want := []Passed{{"EtherType 0x7777", "not opened", 2}, {"MACsec", "encrypted", 1}, {"EtherType 0x0c00", "not opened", 1}}
	if !slices.Equal(st.Passed, want) {
		t.Errorf("got %v, want %v", st.Passed, want)
	}
	if st.Undecodable != 0 {
		t.Errorf("%d are undecodable", st.Undecodable)
	}
}

// Traffic has as many headers as it likes; what is counted apart is bounded.
func TestHeadersThatAreToldApartAreBounded(t *testing.T) {
	var kinds []uint16
	for n := range 3 * maxPassed {
		kinds = append(kinds, uint16(0x7000+n))
	}
	st := passedIn(t, ethernetOf(kinds...))
	if len(st.Passed) != maxPassed+1 {
		t.Fatalf("%d headers", len(st.Passed))
	}
	if want := (Passed{"other headers", "not opened", 2 * maxPassed}); st.Passed[0] != want {
		t.Errorf("got %v, want %v", st.Passed[0], want)
	}
}
