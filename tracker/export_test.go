package tracker

import (
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
)

// What the tests look at besides what is told.

func (t *Tracker) Machine() *conn.Machine { return t.machine }
func (t *Tracker) Book() *anomaly.Book    { return t.book }
func (t *Tracker) SetEmit(f func(*Event)) { t.emit = f }
