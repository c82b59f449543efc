//go:build nohub

package hub

import (
	"context"
	"errors"
)

// A Server is not in this build.
type Server struct{ Conn *Conn }

// Serve says that this build has no server.
func Serve(context.Context, ServeOptions) (*Server, error) {
	return nil, errors.New("this tcpwatch was built without a server (-tags nohub); use --nats with one that is there")
}

// URL is of no use here.
func (h *Server) URL() string { return "" }

// Close is of no use here.
func (h *Server) Close() error { return nil }
