package run

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/who"
)

// Who looks into other processes and namespaces needs rights that a process which reads
// packets must not have. So live asks a process of its own: it reads no packet, and
// live gives up all its rights as before.

// WhoCommand is the hidden command that answers.
const WhoCommand = "answer-who"

// Answer answers on standard output what is asked on standard input, until that ends. It
// keeps the rights that this needs, and as root becomes the user.
func Answer(r io.Reader, w io.Writer, user string) error {
	a, err := who.New()
	if err != nil {
		return err
	}
	defer a.Close()
	_ = a.Listen() // without it, what is over too soon has no owner
	if err := keepForWho(user); err != nil {
		return err
	}
	return who.Serve(a, r, w)
}

// asking is a process that answers.
type asking struct {
	*who.Remote
	ended chan struct{}
}

// startAsking starts it.
func startAsking(user string, stderr io.Writer) (*asking, error) {
	a, err := who.New() // what fails there fails here, and is told at once
	if err != nil {
		return nil, fmt.Errorf("-p: %w", err)
	}
	a.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("-p: %w", err)
	}
	c := exec.Command(self, WhoCommand, "--user", user)
	c.Stderr = stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("-p: %w", err)
	}
	p := &asking{who.NewRemote(out, in), make(chan struct{})}
	go func() {
		p.Wait() // all has been read by then
		_ = c.Wait()
		close(p.ended)
	}()
	if !p.Ready() { // it has said why
		p.Close()
		return nil, errors.New("-p: the process that asks the kernel has ended")
	}
	return p, nil
}

// Close ends it.
func (p *asking) Close() {
	p.Remote.Close()
	select {
	case <-p.ended:
	case <-time.After(time.Second): // it sees that nothing is asked any more
	}
}
