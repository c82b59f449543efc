package story

import (
	"errors"
	"io"
	"time"
)

// A Host is one end of a conversation: a stack that has one port for it, and
// knows its peer's. What it cannot do it refuses with errors.ErrUnsupported.
type Host interface {
	// Listen and Connect get the options of the step: Options has their names.
	Listen(options map[string]int) (Listener, error)
	Connect(options map[string]int) (Socket, error)
	FastOpen(octets int) (Socket, error) // connects with data in the SYN (RFC 7413)
	Destroy() error                      // forgets all that it has of the connection
	Sysctl(name, value string) error     // of Linux, or what the host has instead

	// State returns the state of the host's socket for the connection, "" if it
	// has none, and whether a listener waits.
	State() (state string, listening bool, err error)
}

// A Crowded host connects to its own listener, which fills the queue of those
// that wait to be accepted.
type Crowded interface {
	Fill(connections int) error
}

// A Filtered host has a firewall that knows connections.
type Filtered interface {
	Filter(rule string) error // for what comes to the host, in the words of nft
	Translate() error         // the port with which the host connects
	Forget() error            // all connections
}

// A Listener takes connections.
type Listener interface {
	Accept() (Socket, error) // of the peer; does not wait: any error says that there is none
	Close() error
}

// A Socket has a connection that is open, or being opened. Read and Write do
// not wait, but return ErrWait.
type Socket interface {
	Write(octets int) (written int, err error)
	Read() (octets int, err error) // io.EOF when the peer has closed
	Shutdown() error               // closes the half
	Close() error                  // leaves the rest to the host
	Abort() error                  // closes with RST
	Vanish() error                 // closes without a word, as the crash of a host does
	Die() error                    // closes as the death of its process does
	Cork() error                   // sends full segments alone, until the FIN
	KeepAlive(idle, interval, count int) error
}

// ErrWait is returned by a Socket that would have to wait.
var ErrWait = errors.New("not now")

// A process is one end's program: it may listen, and has at most one
// connection. pump is called again and again.
type process struct {
	host     Host
	clock    Clock
	listener Listener // nil: none
	socket   Socket   // nil: none
	busy     bool     // does not accept
	deaf     bool
	follows  bool // closes when the peer has
	unsent   int  // octets that wait for room in the socket
	leaving  bool // closes when all is sent
}

// listen opens a listener.
func (p *process) listen(options map[string]int) (err error) {
	p.listener, err = p.host.Listen(options)
	return err
}

// unlisten closes the listener.
func (p *process) unlisten() error {
	if p.listener == nil {
		return errors.New("there is no listener")
	}
	err := p.listener.Close()
	p.listener = nil
	return err
}

// open begins a connection.
func (p *process) open(begin func() (Socket, error)) (err error) {
	if p.socket != nil {
		return errors.New("there is a connection already")
	}
	s, err := begin()
	if err == nil {
		p.socket = s
	}
	return err
}

// forget is done with the socket.
func (p *process) forget() {
	p.socket, p.deaf, p.follows, p.unsent, p.leaving = nil, false, false, 0, false
}

// pump does what the process does by itself: accept, read, send on, close.
func (p *process) pump() {
	if p.listener != nil && p.socket == nil && !p.busy {
		if s, err := p.listener.Accept(); err == nil {
			follows := p.follows
			p.forget()
			p.socket, p.follows = s, follows
		}
	}
	if p.socket == nil {
		return
	}
	for p.unsent > 0 {
		n, err := p.socket.Write(p.unsent)
		if err != nil {
			if err != ErrWait {
				p.unsent = 0 // the connection has ended
			}
			break
		}
		p.unsent -= n
	}
	if p.leaving && p.unsent == 0 {
		p.shut()
		return
	}
	for !p.deaf {
		_, err := p.socket.Read()
		if err == nil {
			continue
		}
		if err == io.EOF {
			p.leaving = p.leaving || p.follows
		} else if err != ErrWait {
			p.shut() // the connection has ended with an error
		}
		return
	}
}

// shut closes the socket.
func (p *process) shut() {
	_ = p.socket.Close()
	p.forget()
}

// connected waits until the process has a socket, as when it has to accept.
func (p *process) connected() error {
	for range 1000 {
		if p.pump(); p.socket != nil {
			return nil
		}
		if p.listener == nil {
			break
		}
		p.clock.Sleep(2 * time.Millisecond)
	}
	return errors.New("there is no connection")
}

// end closes what is left when a story is over.
func (p *process) end() {
	if p.socket != nil {
		p.shut()
	}
	if p.listener != nil {
		_ = p.unlisten()
	}
}
