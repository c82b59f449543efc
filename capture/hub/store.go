//go:build !nohub

package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// A server that could not write, as the disk is full, is or cannot be written
// any more, stores nothing from then on. It is started again when that is over.
// What is stored stays whole meanwhile, and sensors keep what they could not send.

const (
	// lookEvery is how often it is looked whether the disk can be written again, and
	// leastRoom how many octets there must be room for.
	lookEvery = time.Second
	leastRoom = 1 << 20
)

// complaints take what the server says of errors. The rest it says to nobody.
type complaints struct{ hub *Server }

func (complaints) Noticef(string, ...any) {}
func (complaints) Warnf(string, ...any)   {}
func (complaints) Debugf(string, ...any)  {}
func (complaints) Tracef(string, ...any)  {}

func (c complaints) Fatalf(format string, v ...any) { c.Errorf(format, v...) }

func (c complaints) Errorf(format string, v ...any) {
	said := fmt.Sprintf(format, v...)
	for _, bad := range []string{"write error", "no space left", "will be DISABLED"} {
		if strings.Contains(said, bad) {
			c.hub.broken.CompareAndSwap(nil, &said)
		}
	}
}

// mend starts the server again when it could not write, and the disk can be written
// again.
func (h *Server) mend() {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	told := false
	for {
		select {
		case <-h.closing:
			return
		case <-look.C:
		}
		why := h.broken.Load()
		if why == nil {
			continue
		}
		err := writable(h.options.Store, leastRoom)
		if !told {
			told = true
			h.options.Notice("nothing can be stored: " + reason(err, *why) + "; sensors keep what they could not send")
		}
		if err != nil {
			continue
		}
		h.server.Shutdown()
		h.server.WaitForShutdown()
		h.broken.Store(nil)
		if err := h.start(context.Background()); err != nil {
			h.broken.Store(why)
			continue
		}
		h.options.Notice("it can be stored again")
		told = false
	}
}

// reason returns why nothing can be stored: the error of a try, or else what the server
// said.
func reason(err error, said string) string {
	if err != nil {
		return err.Error()
	}
	return said
}

// writable reports whether files can be made in a folder, which is made, and have so many
// octets.
func writable(folder string, room int) error {
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
	_, err = f.Write(make([]byte, room))
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}
