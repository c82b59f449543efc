//go:build !nohub

package hub

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// A Server is a hub that runs within tcpwatch.
type Server struct {
	Conn    *Conn // of the first start
	options ServeOptions
	listens server.Options
	server  *server.Server
	broken  atomic.Pointer[string] // why nothing can be stored
	closing chan struct{}
	closed  sync.WaitGroup
}

// Serve starts a hub.
func Serve(ctx context.Context, o ServeOptions) (*Server, error) {
	host, port, err := listenHost(o.Listen)
	if err != nil {
		return nil, err
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	so := server.Options{
		ServerName: "tcpwatch", Host: host, Port: port, JetStream: true, StoreDir: o.Store, NoSigs: true,
		JetStreamMaxStore: o.Keep.Bytes, MaxPayload: 2 << 20, SyncInterval: time.Second,
	}
	if o.Keep.Bytes > 0 {
		so.JetStreamMaxStore = 2 * o.Keep.Bytes // the stream itself is bounded
	}
	switch {
	case o.Keys != "":
		if err := useKeys(&so, o.Keys); err != nil {
			return nil, err
		}
	case !o.Insecure && !isLoopback(host):
		return nil, fmt.Errorf("%s: %w", o.Listen, ErrPlain)
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	h := &Server{options: o, listens: so, closing: make(chan struct{})}
	if err := writable(o.Store, 0); err != nil {
		return nil, err
	}
	if err := h.start(ctx); err != nil {
		return nil, err
	}
	h.closed.Go(h.mend)
	return h, nil
}

// start starts the server.
func (h *Server) start(ctx context.Context) (err error) {
	so := h.listens // the server changes it
	if h.server, err = server.NewServer(&so); err != nil {
		return err
	}
	h.server.SetLogger(complaints{h}, false, false)
	go h.server.Start()
	if !h.server.ReadyForConnections(4 * patience) {
		h.server.Shutdown()
		return fmt.Errorf("%s: the hub does not come up: is the address in use, or %s by another hub?", h.options.Listen, h.options.Store)
	}
	c, err := h.connect(ctx, h.options)
	if err != nil {
		h.server.Shutdown()
		return err
	}
	if h.Conn != nil {
		return c.Close()
	}
	h.Conn = c
	if at, ok := h.server.Addr().(*net.TCPAddr); ok {
		h.listens.Port = at.Port // also when it is started again
	}
	return nil
}

// connect makes the stream, from within the process.
func (h *Server) connect(ctx context.Context, o ServeOptions) (*Conn, error) {
	options := []nats.Option{nats.InProcessServer(h.server), nats.Name("tcpwatch hub")}
	if o.Keys != "" {
		k, err := readKey(keyFile(o.Keys, roleHub, roleHub))
		if err != nil {
			return nil, err
		}
		options = append(options, k.login...)
	}
	nc, err := nats.Connect("", options...)
	if err != nil {
		return nil, err
	}
	return create(ctx, nc, o.Keep)
}

// URL returns where the hub is reached.
func (h *Server) URL() string { return h.server.ClientURL() }

// Close ends it.
func (h *Server) Close() error {
	close(h.closing)
	h.closed.Wait()
	h.Conn.Close()
	h.server.Shutdown()
	h.server.WaitForShutdown()
	return nil
}

// listenHost returns the host of an address to listen at.
func listenHost(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	return host, port, err
}
