package run

import (
	"context"
	"errors"
	"io"

	"github.com/tcpwatch/tcpwatch/capture/hub"
	"github.com/tcpwatch/tcpwatch/report/text"
)

// A Serve is a hub that runs: on servers that are there, or with one of its own.
type Serve struct {
	Outside hub.Options // with a URL: those servers
	Own     hub.ServeOptions
	Stderr  io.Writer
}

// Run runs the hub until ctx ends it.
func (h *Serve) Run(ctx context.Context) error {
	if h.Outside.URL != "" {
		h.Outside.Notice = func(said string) { text.Say(h.Stderr, "%s", said) }
		c, err := hub.Create(ctx, h.Outside, h.Own.Keep)
		if err != nil {
			return hubHint(err)
		}
		defer c.Close()
		text.Say(h.Stderr, "the hub is at %s", text.Escape(h.Outside.URL))
		<-ctx.Done()
		return nil
	}
	h.Own.Notice = func(said string) { text.Say(h.Stderr, "%s", said) }
	s, err := hub.Serve(ctx, h.Own)
	if err != nil {
		if errors.Is(err, hub.ErrPlain) {
			return WithHint(err, "--keys with a folder of tcpwatch hub keys, or --insecure if nobody can listen there")
		}
		return err
	}
	text.Say(h.Stderr, "the hub is at %s", text.Escape(s.URL()))
	<-ctx.Done()
	return s.Close()
}
