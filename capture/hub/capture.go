package hub

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const (
	// flushEvery is how long a segment of a live capture waits at most until it is sent,
	// and beatEvery how often it is said that the sensor is there.
	flushEvery = 200 * time.Millisecond
	beatEvery  = time.Second

	// lastCall is how long the packets are waited for that were on their way to us when
	// the run was ended.
	lastCall = 50 * time.Millisecond
)

// File sends what a capture has, to its end.
func (s *Sensor) File(ctx context.Context, src *capture.Source) error {
	defer context.AfterFunc(ctx, src.Stop)()
	for g, err := range src.Segments() {
		if err == nil {
			err = s.Take(g)
		}
		if err != nil {
			return errors.Join(err, s.quit(ctx))
		}
	}
	if ctx.Err() != nil {
		return s.quit(ctx)
	}
	return s.End(ctx, src.Stats().Until)
}

// quit leaves the run as it is: it may be sent to its end another time.
func (s *Sensor) quit(ctx context.Context) error {
	s.fail(context.Canceled)
	<-s.done
	if ctx.Err() != nil {
		return nil
	}
	return s.conn.nc.LastError()
}

// Live sends what is captured, until ctx or the capture ends it.
func (s *Sensor) Live(ctx context.Context, l *capture.Live) error {
	defer context.AfterFunc(ctx, l.Wake)()
	var deadline, beat, stop time.Time
	for {
		g, err := l.Next(deadline)
		if g != nil {
			if err := s.Take(g); err != nil {
				return err
			}
			continue
		}
		if err != nil && err != io.EOF {
			return err
		}
		now := time.Now()
		if ctx.Err() != nil && stop.IsZero() {
			stop = now.Add(lastCall)
			l.Seal()
		}
		if err == io.EOF || !stop.IsZero() && now.After(stop) {
			break
		}
		if now.After(beat) {
			mark := l.Now()
			if mark == 0 && s.options.Clock { // nothing was captured yet
				mark = tcp.Time(now.Add(-beatEvery).UnixNano())
			}
			err, beat = s.Beat(mark), now.Add(beatEvery)
		} else {
			err = s.Flush()
		}
		if err != nil {
			return err
		}
		deadline = now.Add(flushEvery)
		if !stop.IsZero() {
			deadline = stop
		}
	}
	l.Stop()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*patience)
	defer cancel()
	return s.End(ending, l.Stats().Until)
}

// Dropped returns how many segments were dropped because there was no room for them.
func (s *Sensor) Dropped() int64 { return s.lost }
