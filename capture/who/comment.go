package who

import (
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A file that is written has the owners of connections in comments on packets that follow,
// of these or of other connections, a line for each end, so that who reads it later knows
// them too:
//
//	tcpwatch {"start":"2026-11-30T09:00:00.000000001Z","local":"10.0.0.1:49152","remote":"10.0.0.2:443","source":"socket","pid":1234,"program":"curl","user":"alice"}
//
// They are written by who writes the file, and may be lies.

// An Owned is an end of a connection, and whose it is.
type Owned struct {
	Start         tcp.Time // of the connection
	Local, Remote netip.AddrPort
	Owner         tcp.Owner
}

// A comment is the JSON of it.
type comment struct {
	Start     time.Time      `json:"start"`
	Local     netip.AddrPort `json:"local"`
	Remote    netip.AddrPort `json:"remote"`
	Source    string         `json:"source,omitempty"`
	PID       int            `json:"pid,omitempty"`
	Program   string         `json:"program,omitempty"`
	User      string         `json:"user,omitempty"`
	Unit      string         `json:"unit,omitempty"`
	Container string         `json:"container,omitempty"`
	Pod       string         `json:"pod,omitempty"`
}

const commentMark = "tcpwatch {"

// Comment returns the line of an end whose owner is known.
func Comment(start tcp.Time, local, remote netip.AddrPort, o *tcp.Owner) string {
	line, err := json.Marshal(comment{start.Std().UTC(), local, remote, o.Source.String(), o.PID, o.Program, o.User, o.Unit, o.Container, o.Pod})
	if err != nil {
		panic("who: an owner that cannot be encoded: " + err.Error())
	}
	return strings.TrimSuffix(commentMark, "{") + string(line)
}

// ParseComment reads a line that Comment has made; ok is false for any other.
func ParseComment(line string) (o Owned, ok bool) {
	var c comment
	if !strings.HasPrefix(line, commentMark) || json.Unmarshal([]byte(line[len(commentMark)-1:]), &c) != nil {
		return o, false
	}
	o = Owned{tcp.Time(c.Start.UnixNano()), c.Local, c.Remote, tcp.Owner{PID: max(c.PID, 0), Program: c.Program, User: c.User, Unit: c.Unit, Container: c.Container, Pod: c.Pod}}
	known := o.Owner != tcp.Owner{}
	for s := range tcp.NumOwnerSources {
		if s.String() == c.Source {
			o.Owner.Source = s
		}
	}
	return o, known && o.Local.IsValid() && o.Remote.IsValid()
}
