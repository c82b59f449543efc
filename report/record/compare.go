package record

import (
	"bufio"

	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

// compareJSON prints the report of captures of several places as one object: the
// sentences of the verdict, the findings, and the summary, which has the taps.
type compareJSON struct {
	Quiet
	out   *bufio.Writer
	opts  *Options
	found findings.Counts
}

// NewCompareJSON makes that format.
func NewCompareJSON(out *bufio.Writer, o *Options, _ Order) Format {
	return &compareJSON{out: out, opts: o}
}

func (p *compareJSON) Connection(r *tracker.Record) error {
	p.opts.Find(&p.found, r)
	return nil
}

func (p *compareJSON) Many(a *anomaly.Anomaly) error {
	p.found.Anomaly(a, nil)
	return nil
}

func (p *compareJSON) Close(s *Summary, t *Tally) error {
	b := []byte(`{"verdict":[`)
	if s.Between != nil {
		for _, line := range s.Between.Verdict() {
			b = text.AppendString(text.AppendComma(b), line)
		}
	}
	b = append(b, "],\n\"findings\":["...)
	for _, f := range p.found.List() {
		b = p.appendFinding(append(text.AppendComma(b), '\n'), f, s)
	}
	b = appendSummary(append(b, "],\n\"summary\":"...), s, t)
	_, err := p.out.Write(append(b, "}\n"...))
	return err
}

// appendFinding appends anomalies that say the same: of how many connections they are, the
// first of these, and the earliest, with its frames in each capture.
func (p *compareJSON) appendFinding(b []byte, f *findings.Finding, s *Summary) []byte {
	b = appendInt(append(b, `{"connections":`...), f.Count)
	b = appendInts(appendKey(b, "conns"), f.Conns())
	if f.At.IsValid() {
		b = text.AppendString(appendKey(b, "server"), f.At.String())
	}
	b = append(appendKey(b, "frames"), '{')
	if r := s.Between; r != nil && r.Frames != nil {
		in := make([][]int, len(r.Taps))
		for _, packet := range f.First.Evidence {
			for i, frame := range r.Frames(packet) {
				if frame > 0 {
					in[i] = append(in[i], frame)
				}
			}
		}
		for i := range in {
			b = append(text.AppendString(text.AppendComma(b), r.Taps[i].Name), ':')
			b = appendInts(b, in[i])
		}
	}
	b = append(b, '}')
	return append(appendAnomaly(b, &f.First), '}')
}
