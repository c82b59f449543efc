package text

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestEscape(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", ""},
		{"plain text, §", "plain text, §"},
		{`C:\traces\a.pcap`, `C:\traces\a.pcap`},
		{"a\x1b[31mb", `a\x1b[31mb`},
		{"a\nb\tc\rd\x00", `a\nb\tc\rd\x00`},
		{"c1 \u009b", `c1 \u009b`},
		{"bidi \u202e", `bidi \u202e`},
		{"del \x7f", `del \x7f`},
		{"bad \xff\xfe", `bad \xff\xfe`},
		{"replaced \ufffd", "replaced \ufffd"},
		{"no break\u00a0space", `no break\u00a0space`},
	} {
		if got := Escape(test.text); got != test.want {
			t.Errorf("Escape(%q) = %q, want %q", test.text, got, test.want)
		}
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a\x1b[31mb\xff\u202e")
	f.Fuzz(func(t *testing.T, text string) {
		got := Escape(text)
		if strings.ContainsFunc(got, Unprintable) || Escape(got) != got {
			t.Errorf("Escape(%q) = %q", text, got)
		}
	})
}

func TestEscapeMarkdown(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"TIME_WAIT?", "TIME_WAIT?"},
		{"a|b", `a\|b`},
		{"<script>&amp;", "&lt;script>&amp;amp;"},
		{"*bold* `code`", "\\*bold\\* \\`code\\`"},
		{"[x](http://example.net)", `[x]\(http://example.net)`},
		{"[2001:db8::1]:443", "[2001:db8::1]:443"},
		{"\x1b\n", `\\x1b\\n`},
	} {
		if got := EscapeMarkdown(test.text); got != test.want {
			t.Errorf("EscapeMarkdown(%q) = %q, want %q", test.text, got, test.want)
		}
	}
}

func TestAppendSeconds(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0"}, {1, "0.000000001"}, {620 * time.Millisecond, "0.62"}, {58_200 * time.Millisecond, "58.2"},
		{time.Hour, "3600"}, {-1500 * time.Millisecond, "-1.5"}, {-1 << 63, "-9223372036.854775808"},
	} {
		if got := string(AppendSeconds(nil, test.d)); got != test.want {
			t.Errorf("AppendSeconds(%v) = %s, want %s", test.d, got, test.want)
		}
	}
}

func TestAppendTime(t *testing.T) {
	for _, test := range []struct {
		t    tcp.Time
		want string
	}{
		{0, "1970-01-01T00:00:00.000000000Z"}, {sample.Begin + 1, "2026-01-02T03:00:00.000000001Z"}, {-1, "1969-12-31T23:59:59.999999999Z"},
	} {
		if got := string(AppendTime(nil, test.t)); got != test.want {
			t.Errorf("AppendTime(%d) = %s, want %s", test.t, got, test.want)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		at := tcp.Time(rnd.Uint64())
		if got, want := string(AppendTime(nil, at)), at.Std().Format("2006-01-02T15:04:05.000000000Z07:00"); got != want {
			t.Errorf("AppendTime(%d) = %s, want %s", at, got, want)
		}
	}
}

func TestLeft(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0 s left"}, {1, "1 s left"}, {23_001 * time.Millisecond, "24 s left"}, {2 * time.Hour, "7,200 s left"}, {-time.Second, "0 s left"},
	} {
		if got := Left(test.d); got != test.want {
			t.Errorf("Left(%v) = %s, want %s", test.d, got, test.want)
		}
	}
}

func TestHuman(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0s"}, {5, "5ns"}, {85 * time.Microsecond, "85us"}, {1500 * time.Microsecond, "1.5ms"}, {10_240 * time.Microsecond, "10.2ms"},
		{620 * time.Millisecond, "620ms"}, {time.Second, "1s"}, {12_345 * time.Millisecond, "12.3s"}, {59_999 * time.Millisecond, "60s"},
		{time.Minute, "1m00s"}, {245 * time.Second, "4m05s"}, {2*time.Hour + 5*time.Minute, "2h05m"}, {76 * time.Hour, "3d04h"},
		{-1500 * time.Millisecond, "-1.5s"},
	} {
		if got := Human(test.d); got != test.want {
			t.Errorf("Human(%v) = %s, want %s", test.d, got, test.want)
		}
	}
}

func TestTimerText(t *testing.T) {
	for _, test := range []struct {
		kind string
		left time.Duration
		want string
	}{
		{"2msl", 58_200 * time.Millisecond, "timewait,58sec"},
		{"2msl", 0, "timewait,0ms"},
		{"fin-wait-2", time.Minute, "fin-wait-2,1min"},
		{"syn", 500 * time.Millisecond, "syn,500ms"},
		{"syn", 9500 * time.Millisecond, "syn,9.500sec"},
		{"syn-ack", 3 * time.Second, "syn-ack,3sec"},
		{"fin", 65 * time.Second, "fin,1min5sec"},
		{"fin", 11*time.Minute + 5*time.Second, "fin,11min"},
	} {
		if got := Timer(tracker.Timer{Kind: test.kind, Remaining: test.left}); got != test.want {
			t.Errorf("Timer(%s, %v) = %s, want %s", test.kind, test.left, got, test.want)
		}
	}
}

func TestTimeStyles(t *testing.T) {
	defer func(zone *time.Location) { time.Local = zone }(time.Local)
	time.Local = time.FixedZone("", 90*60)
	for _, test := range []struct{ style, want string }{
		{"utc", "2026-01-02T03:00:12.500000Z"},
		{"local", "2026-01-02T04:30:12.500000+01:30"},
		{"relative", "+12.500000"},
	} {
		style, err := ParseTimeStyle(test.style)
		if err != nil {
			t.Fatal(err)
		}
		if got := style.Format(sample.At(12_500), sample.Begin); got != test.want {
			t.Errorf("%s: got %s, want %s", test.style, got, test.want)
		}
	}
	if _, err := ParseTimeStyle("UTC"); err == nil || !strings.Contains(err.Error(), "utc, local, relative") {
		t.Errorf("an unknown style: got error %v", err)
	}
}

func TestFrameList(t *testing.T) {
	for _, test := range []struct {
		frames []int
		want   string
	}{
		{[]int{8, 10, 11}, "8,10,11"},
		{[]int{1, 2, 3, 4, 5, 6, 7, 8}, "1,2,3,4,5,6,7,8"},
		{[]int{1, 2, 3, 4, 5, 6, 7, 8, 9}, "1,2,3,4,5,6,7,..,9"},
	} {
		if got := Frames(test.frames); got != test.want {
			t.Errorf("Frames(%v) = %s, want %s", test.frames, got, test.want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		want  []string
	}{
		{"as it stands", 0, []string{"as it stands"}},
		{"broken between words", 12, []string{"broken", "between", "words"}},
		{"broken between words", 14, []string{"broken between", "words"}},
		{"a-word-that-is-too-long stays", 5, []string{"a-word-that-is-too-long", "stays"}},
		{"", 10, []string{""}},
	} {
		if got := wrap(test.text, test.width); !slices.Equal(got, test.want) {
			t.Errorf("wrap(%q, %d) = %q, want %q", test.text, test.width, got, test.want)
		}
	}
}

func TestAppendString(t *testing.T) {
	for _, s := range []string{
		"", "plain", `"quoted\"`, "tab\tline\nnull\x00del\x7f", "§ é 世 😀", "c1\u009b2J", "bidi\u202e", "plane 14 \U000e0041", "\u2028",
	} {
		text := AppendString(nil, s)
		var got string
		if err := json.Unmarshal(text, &got); err != nil || got != s {
			t.Errorf("%q was written %s and read %q (%v)", s, text, got, err)
		}
		if strings.ContainsFunc(string(text), Unprintable) {
			t.Errorf("%q was written %q", s, text)
		}
	}
	if got, want := string(AppendString(nil, "a\xffb")), `"a\ufffdb"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A name of a host stands behind its address, and whatever it holds it is one word
// in brackets.
func TestNamed(t *testing.T) {
	for _, row := range [][2]string{
		{"", "10.0.0.1:80"},
		{"www.example.com", "10.0.0.1:80 (www.example.com)"},
		{"_a-1.*.xn--p1ai", "10.0.0.1:80 (_a-1.*.xn--p1ai)"},
		{"a) ESTABLISHED", `10.0.0.1:80 (a\x29\x20ESTABLISHED)`},
		{"\x1b[2J\u009b\x7f\n", `10.0.0.1:80 (\x1b[2J\xc2\x9b\x7f\x0a)`},
		{"אב", `10.0.0.1:80 (\xd7\x90\xd7\x91)`}, // would be shown from right to left
		{"\xff", `10.0.0.1:80 (\xff)`},
		{strings.Repeat("a", 60) + ".example", "10.0.0.1:80 (..." + strings.Repeat("a", 29) + ".example)"},
	} {
		if got := Named("10.0.0.1:80", row[0]); got != row[1] {
			t.Errorf("%q: got %s, want %s", row[0], got, row[1])
		}
	}
	if got, want := Named("10.0.0.1", "a", "b", "c"), "10.0.0.1 (a, ...)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
