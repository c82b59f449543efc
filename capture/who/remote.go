package who

import (
	"encoding/gob"
	"errors"
	"io"
)

// A reply is what a message of another process says.
type reply struct {
	Answers []Answer
	Missing []string
}

// Serve answers what is asked over r, to w, until r ends. First of all it says that it is
// ready.
func Serve(a *Asker, r io.Reader, w io.Writer) error {
	in, out := gob.NewDecoder(r), gob.NewEncoder(w)
	if err := out.Encode(reply{}); err != nil {
		return err
	}
	for {
		var list []Query
		if err := in.Decode(&list); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		answers := a.Ask(list)
		if err := out.Encode(reply{answers, a.Missing()}); err != nil {
			return err
		}
	}
}

// A Remote asks a process that Serves. Nobody waits for it.
type Remote struct {
	asked   chan []Query
	replies chan reply
	ready   chan struct{} // the first answer has come
	closed  chan struct{} // by Close
	ended   chan struct{} // nothing more will be answered
	missing []string
}

// waiting is how many messages may wait each way. What is more is not asked.
const waiting = 256

// NewRemote asks over w, and is answered over r.
func NewRemote(r io.Reader, w io.WriteCloser) *Remote {
	c := &Remote{asked: make(chan []Query, waiting), replies: make(chan reply, waiting), ready: make(chan struct{}), closed: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer w.Close()
		out := gob.NewEncoder(w)
		failed := false
		for list := range c.asked {
			failed = failed || out.Encode(list) != nil
		}
	}()
	go func() {
		defer close(c.ended)
		defer close(c.replies)
		in := gob.NewDecoder(r)
		if in.Decode(new(reply)) != nil {
			return
		}
		close(c.ready)
		for {
			var got reply
			if in.Decode(&got) != nil {
				return
			}
			select {
			case c.replies <- got:
			case <-c.closed:
				return
			}
		}
	}()
	return c
}

// Ask asks, unless too much waits to be. It keeps the list.
func (c *Remote) Ask(list []Query) bool {
	select {
	case c.asked <- list:
		return true
	default:
		return false
	}
}

// Answers returns what has come since the last call. gone says that nothing more will.
func (c *Remote) Answers() (list []Answer, gone bool) {
	for {
		select {
		case got, more := <-c.replies:
			if !more {
				return list, true
			}
			list, c.missing = append(list, got.Answers...), got.Missing
		default:
			return list, false
		}
	}
}

// Missing is what the Asker's Missing said last.
func (c *Remote) Missing() []string { return c.missing }

// Ready waits until it is answered, and reports whether it will be.
func (c *Remote) Ready() bool {
	select {
	case <-c.ready:
		return true
	case <-c.ended:
		return false
	}
}

// Wait waits until nothing more will be answered.
func (c *Remote) Wait() { <-c.ended }

// Close ends the asking.
func (c *Remote) Close() {
	close(c.asked)
	close(c.closed)
}
