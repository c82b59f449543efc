package html

import (
	"github.com/tcpwatch/tcpwatch/report/check"
	"github.com/tcpwatch/tcpwatch/report/record"
)

// Failures gather what the page of a capture tells of its check. They are a
// check.Printer that prints nothing.
type Failures struct {
	Rules []check.Rule // of the check
	list  []Failure
}

// Capture takes what was found in the capture.
func (f *Failures) Capture(c *check.Capture) error {
	for _, found := range c.Findings {
		if found.Verdict != check.Failed {
			continue
		}
		failure := Failure{Rule: f.Rules[found.Rule].Name, Text: found.Text, Conn: found.Conn}
		if len(found.Packets) > 0 {
			failure.Packet = found.Packets[0]
		}
		f.list = append(f.list, failure)
	}
	return nil
}

// Close has nothing to write.
func (f *Failures) Close() error { return nil }

// Tell puts them at the head of the page that p prints, see Fail.
func (f *Failures) Tell(p record.Printer) { Fail(p, f.list) }
