package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
)

// A Copy is a pcapng file of packets that are picked from captures, with comments.
// Each file that they come from begins a section.
type Copy struct {
	path  string
	made  bool // there was no such file before
	begun bool
	file  blockFile
}

// CreateCopy sees whether the file can be written, and is none of the captures
// that are to be read. What is in it stays until Add is called.
func CreateCopy(path string, from []string, o Options) (*Copy, error) {
	_, err := os.Stat(path)
	c := &Copy{path: path, made: errors.Is(err, os.ErrNotExist)}
	if c.file.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666); err != nil {
		return nil, err
	}
	info, err := c.file.file.Stat()
	for i := 0; i < len(from) && err == nil; i++ {
		var source os.FileInfo
		if in, is := o.stdin().(*os.File); is && from[i] == "-" {
			source, _ = in.Stat()
		} else {
			source, _ = os.Stat(from[i]) // what cannot be read is told of by who reads it
		}
		if source != nil && os.SameFile(info, source) {
			err = fmt.Errorf("%s: is also an input file; write to another file", path)
		}
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Add reads captures as Open does, from their start, and writes the packets for
// which pick says so, in the order of the captures. pick is asked for every packet
// in turn, whose numbers count from 1, and returns its comment; "" is none.
// Standard input must be a file. What is damaged is read up to there.
func (c *Copy) Add(ctx context.Context, paths []string, o Options, pick func(frame int) (comment string, ok bool)) error {
	if !c.begun {
		if err := c.file.file.Truncate(0); err != nil && c.file.regular() {
			return err
		}
		c.begun = true
	}
	start := int64(0)
	if in, is := o.stdin().(io.Seeker); is {
		start, _ = in.Seek(0, io.SeekCurrent)
	}
	s, err := Open(paths, o)
	if err != nil {
		return err
	}
	defer s.Close()
	frame := 0
	for _, in := range s.inputs {
		if err := in.close(); err != nil {
			return err
		}
		if err := c.add(ctx, in, start, &frame, pick); err != nil {
			return err
		}
	}
	return c.file.flush()
}

// add adds the packets of one file. frame is the number of the newest packet.
func (c *Copy) add(ctx context.Context, in *input, start int64, frame *int, pick func(frame int) (string, bool)) (err error) {
	r := in.from
	if r == nil {
		f, err := os.Open(in.path)
		if err != nil {
			return err
		}
		defer f.Close()
		r = f
	} else if again, is := r.(io.Seeker); is {
		if _, err := again.Seek(start, io.SeekStart); err != nil {
			return fmt.Errorf("reading %s again: %w", in.name, err)
		}
	}
	p, err := pcap.NewCopier(r, in.name, in.path, &c.file.Blocks, c.file.flush)
	if err != nil {
		return err
	}
	defer p.Close()
	var record pcap.Record
	for {
		if err := p.Next(&record); err != nil {
			return endOfCopy(in, err)
		}
		if *frame++; *frame%(1<<12) == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if comment, ok := pick(*frame); ok {
			p.Keep(&record, comment)
		}
		if err := c.file.flushLarge(); err != nil {
			return fmt.Errorf("writing %s: %w", c.path, err)
		}
	}
}

// endOfCopy returns the error that ended the reading of a file, if it is one:
// that the file is damaged was told when it was read first.
func endOfCopy(in *input, err error) error {
	var d *pcap.Damage
	if err == io.EOF || errors.As(err, &d) {
		return nil
	}
	return fmt.Errorf("reading %s again: %w", in.name, err)
}

// Close closes the file. One that was made for nothing is taken away.
func (c *Copy) Close() error {
	err := c.file.close()
	if c.made && !c.begun {
		err = errors.Join(err, os.Remove(c.path))
	}
	return err
}

// stdin is what "-" reads.
func (o *Options) stdin() io.Reader {
	if o.Stdin == nil {
		return os.Stdin
	}
	return o.Stdin
}
