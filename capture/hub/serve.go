//go:build !nohub

package hub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// A Server is a hub that runs within tcpwatch.
type Server struct {
	Conn   *Conn
	server *server.Server
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
	so := &server.Options{
		ServerName: "tcpwatch", Host: host, Port: port, JetStream: true, StoreDir: o.Store, NoSigs: true, NoLog: true,
		JetStreamMaxStore: o.Keep.Bytes, MaxPayload: 2 << 20, SyncInterval: time.Second,
	}
	if o.Keep.Bytes > 0 {
		so.JetStreamMaxStore = 2 * o.Keep.Bytes // the stream itself is bounded
	}
	switch {
	case o.Keys != "":
		if err := useKeys(so, o.Keys); err != nil {
			return nil, err
		}
	case !o.Insecure && !isLoopback(host):
		return nil, fmt.Errorf("%s: %w", o.Listen, ErrPlain)
	}
	if err := writable(o.Store); err != nil {
		return nil, err
	}
	s, err := server.NewServer(so)
	if err != nil {
		return nil, err
	}
	go s.Start()
	if !s.ReadyForConnections(4 * patience) {
		s.Shutdown()
		return nil, fmt.Errorf("%s: the hub does not come up: is the address in use, or %s by another hub?", o.Listen, o.Store)
	}
	h := &Server{server: s}
	if h.Conn, err = h.connect(ctx, o); err != nil {
		s.Shutdown()
		return nil, err
	}
	return h, nil
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

// writable reports whether files can be made in a folder, which is made.
func writable(folder string) error {
	if folder == "" {
		return errors.New("no folder to store in")
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".try-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// URL returns where the hub is reached.
func (h *Server) URL() string { return h.server.ClientURL() }

// Close ends it.
func (h *Server) Close() error {
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
