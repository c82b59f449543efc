package story

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/decode"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker/oracle"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Packet is one that a host's tap saw.
type Packet struct {
	At   time.Time
	Data []byte
}

// A Witness has what was seen at a host while a conversation was played. It may
// be of other conversations too.
type Witness struct {
	Captured []Packet
	Moves    []oracle.Move // of the conversation alone
}

// Seconds is a time as truth.json has it.
func Seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// Keep writes the captures and the truth of a conversation into a directory, up
// to the last quiet moment. It fails with every NotAsTold, having written all.
func (c *Conversation) Keep(dir string, s *Script, witnesses [2]Witness) error {
	if len(c.marks) == 0 {
		return fmt.Errorf("%s: there was no quiet moment", s.Name)
	}
	end := c.marks[len(c.marks)-1].at
	c.story.Name, c.story.Description = s.Name, s.Description
	c.story.Endpoints, c.story.Moves = map[string]oracle.Endpoint{}, map[string][]oracle.Move{}
	for i, w := range witnesses {
		name, addr := Side(i).String(), c.channel.addrs[i]
		c.story.Endpoints[name] = oracle.Endpoint{Addr: addr.Addr().String(), Port: addr.Port()}
		c.story.Moves[name] = slices.DeleteFunc(w.Moves, func(m oracle.Move) bool { return m.T > Seconds(end) })
		c.story.Taps = append(c.story.Taps, name+".pcap")
		if err := c.writeCapture(filepath.Join(dir, name+".pcap"), w.Captured, end); err != nil {
			return err
		}
	}
	var wrong []error
	for i := range c.marks {
		m := &c.marks[i]
		cp := oracle.Checkpoint{T: Seconds(m.at), Accept: m.accept}
		cp.Client = c.stateAt(m, Client, cp)
		cp.Server = c.stateAt(m, Server, cp)
		if were := []string{cp.Client, cp.Server}; len(m.want) > 0 && !slices.Equal(m.want, were) {
			wrong = append(wrong, &NotAsTold{s.Name, i + 1, m.want, were})
		}
		c.story.Checkpoints = append(c.story.Checkpoints, cp)
	}
	truth, err := json.MarshalIndent(&c.story, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "truth.json"), append(truth, '\n'), 0o644); err != nil {
		return err
	}
	return errors.Join(wrong...)
}

// stateAt returns the state of an end at a mark. An end that has no socket is
// CLOSED, or LISTEN if its listener waits and no connection began there. Where
// one began and went no further than SYN_RCVD, RFC 9293 has LISTEN too.
func (c *Conversation) stateAt(m *mark, s Side, cp oracle.Checkpoint) string {
	if m.state[s] != "" {
		return m.state[s]
	}
	if !m.listening[s] {
		return "CLOSED"
	}
	newest := ""
	for _, move := range c.story.Moves[s.String()] {
		if move.T <= cp.T && move.To != "CLOSED" {
			newest = move.To
		}
	}
	switch newest {
	case "":
		return "LISTEN"
	case "SYN_RCVD":
		cp.Accept[s.String()] = append(cp.Accept[s.String()], "LISTEN")
	}
	return "CLOSED"
}

// writeCapture writes what a host's tap saw of the conversation until the end.
func (c *Conversation) writeCapture(path string, captured []Packet, end time.Time) error {
	var b bytes.Buffer
	w, err := pktgen.NewPcap(&b, pcap.LinkRaw, 1<<16)
	if err != nil {
		return err
	}
	one, other := c.channel.addrs[Client], c.channel.addrs[Server]
	for _, p := range captured {
		if p.At.After(end) {
			break
		}
		s, ok := decode.IP(p.Data)
		if ok && (s.Src == one && s.Dst == other || s.Src == other && s.Dst == one) {
			if err := w.Write(tcp.Time(p.At.UnixNano()), p.Data); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
