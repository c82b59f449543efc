package endpoint

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The capture was made on the host of an end only where nothing speaks against it.
func TestRecordedAt(t *testing.T) {
	const near, far = 1, 150 // responses: 66 µs, 10 ms
	end := func(ttl uint8, respond uint16, went Went, bits Bits) *End {
		return &End{TTL: ttl, Respond: respond, Went: went, Bits: bits}
	}
	for _, test := range []struct {
		name string
		x, y *End
		want bool
	}{
		{"it answers at once, and its peer does not", end(64, near, 0, 0), end(64, far, 0, 0), true},
		{"the same behind a router", end(63, near, 0, 0), end(64, far, 0, 0), false},
		{"both answer at once", end(64, near, 0, 0), end(64, near, 0, 0), false},
		{"its peer has not answered yet", end(64, near, 0, 0), end(64, 0, 0, 0), false},
		{"it takes longer", end(64, 2, 0, 0), end(64, far, 0, 0), false},
		{"its packets went out", end(128, 4, WentOut, 0), end(50, 4, CameIn, 0), true},
		{"they went out, routed", end(127, 4, WentOut, 0), end(50, 4, CameIn, 0), false},
		{"they went out, and it answers as from afar", end(64, far, WentOut, 0), end(64, near, CameIn, 0), false},
		{"they went out, and nothing shows how soon it answers", end(64, 0, WentOut, 0), end(64, 0, CameIn, 0), false},
		{"they went out and came in", end(64, near, WentOut|CameIn, 0), end(64, far, CameIn, 0), false},
		{"those of both went out", end(64, near, WentOut, 0), end(64, far, WentOut, 0), false},
		{"its packets came in", end(64, near, CameIn, 0), end(64, far, 0, 0), false},
		{"its checksums are not filled in", end(255, 4, SumUnfilled, 0), end(64, 4, 0, GoodSum), true},
		{"those of neither are", end(64, 4, SumUnfilled, 0), end(64, 4, SumUnfilled, GoodSum), false},
		{"those of its peer are not known", end(64, 4, SumUnfilled, 0), end(64, 4, 0, 0), false},
	} {
		if got := RecordedAt(test.x, test.y); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

// What is noted of a segment is what its direction and its checksum tell.
func TestNoteHeaderTakesDownHowItWent(t *testing.T) {
	for _, test := range []struct {
		s    tcp.Segment
		want Went
	}{
		{tcp.Segment{}, 0},
		{tcp.Segment{Way: tcp.WayIn, Sum: tcp.SumGood}, CameIn},
		{tcp.Segment{Way: tcp.WayOut, Sum: tcp.SumPartial}, WentOut | SumUnfilled},
		{tcp.Segment{Sum: tcp.SumBad}, 0},
	} {
		var x End
		if x.NoteHeader(&test.s); x.Went != test.want {
			t.Errorf("%+v: got %b, want %b", test.s, x.Went, test.want)
		}
	}
}
