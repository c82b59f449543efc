package alarms

import (
	"math/rand/v2"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

type member struct {
	alarm tcp.Time
	id    uint32
}

func (m *member) Alarm() *tcp.Time { return &m.alarm }
func (m *member) Number() uint32   { return m.id }

// Alarms that were taken away, however far they were set, take no room for good.
func TestClockForgetsWhatDoesNotCount(t *testing.T) {
	var q Clock[*member]
	members := make([]member, 1000)
	for i := range members {
		members[i].id = uint32(i)
	}
	const rounds = 1000
	for round := range rounds {
		for i := range members {
			q.Set(&members[i], tcp.Time(round+1)<<tickBits+1<<50)
		}
	}
	if q.wheeled > 2*leastSwept {
		t.Errorf("%d alarms are kept of %d members", q.wheeled, len(members))
	}
	for i := range members {
		if m, at := q.Due(1 << 51); m != &members[i] || at == 0 {
			t.Fatalf("member %d rings at %d in place of member %d", m.id, at, i)
		}
	}
}

// A Clock rings what a list that is looked through would: in order, when it is due, and
// whatever was set, set anew or taken away, near and far.
func TestClockRingsInOrder(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var q Clock[*member]
		members := make([]member, 300)
		for i := range members {
			members[i].id = uint32(i)
		}
		now := tcp.Time(1) << rnd.IntN(62)
		rung := 0
		for range 3000 {
			m := &members[rnd.IntN(len(members))]
			switch rnd.IntN(8) {
			case 0:
				q.Drop(m)
			case 1, 2:
				now += tcp.Time(rnd.Int64N(1 << rnd.IntN(57)))
				last, lastID := tcp.Time(0), uint32(0)
				for {
					var want *member
					for i := range members {
						if m := &members[i]; m.alarm != 0 && m.alarm <= now && (want == nil || m.alarm < want.alarm) {
							want = m // the lowest of those at the same time
						}
					}
					due := tcp.Time(0)
					if want != nil {
						due = want.alarm
					}
					got, at := q.Due(now)
					if at != due || want != nil && got != want || at != 0 && got.alarm != 0 {
						t.Fatalf("seed %d, at %d: %v rings at %d, want %v at %d", seed, now, got, at, want, due)
					}
					if at == 0 {
						break
					}
					if at < last || at == last && got.id < lastID {
						t.Fatalf("seed %d: %d rings after %d", seed, at, last)
					}
					last, lastID = at, got.id
					rung++
					if rnd.IntN(4) == 0 {
						q.Set(got, at+tcp.Time(rnd.Int64N(1<<rnd.IntN(40)))+1)
						last = 0
					}
				}
			default:
				at := now + tcp.Time(rnd.Int64N(1<<rnd.IntN(59))) + 1
				if rnd.IntN(4) == 0 {
					at = now + tcp.Time(rnd.IntN(3)<<20) // the same as others
				}
				q.Set(m, max(at, 1))
			}
		}
		if rung < 300 {
			t.Errorf("seed %d: only %d rang", seed, rung)
		}
		for i := range members {
			q.Drop(&members[i])
		}
		if _, at := q.Due(1<<63 - 1); at != 0 || len(q.near) > 0 || q.far != [wheelLevels]int{} {
			t.Errorf("seed %d: alarms are kept that were taken away: %d, and %v", seed, len(q.near), q.far)
		}
	}
}

// Who sets an alarm anew for the time at which it rings does not stop the time: the others
// ring, and it is given up.
func TestClockGoesOn(t *testing.T) {
	var q Clock[*member]
	members := make([]member, 100)
	for i := range members {
		members[i].id = uint32(i)
		q.Set(&members[i], 1000)
	}
	later := member{id: 100}
	q.Set(&later, 1001)
	rung := make(map[uint32]int)
	for range 10_000 {
		m, at := q.Due(2000)
		if at == 0 {
			break
		}
		if rung[m.id]++; m.id == 7 {
			q.Set(m, at)
		}
	}
	if _, at := q.Due(2000); at != 0 || len(rung) != 101 || rung[7] > mostRings*(len(members)+1) || rung[8] != 1 || rung[100] != 1 {
		t.Errorf("rung %v, and then at %d", rung, at)
	}
}
