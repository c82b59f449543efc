package story

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Random makes up a story: an opening, some talk over a bad path, one of
// many ways to end, and perhaps the same ports once more. A seed always gives
// the same story; what hosts make of it may depend on the moment too.
func Random(seed uint64) *Script {
	r := &author{rnd: rand.New(rand.NewPCG(seed, 1))}
	r.line("# A random conversation.")
	r.line("server listen")
	if r.chance(0.8) {
		r.line("wire noise loss=%.2f duplicate=%.2f late=%.2f jitter=%dms seed=%d",
			pick(r, 0, 0.02, 0.05, 0.15), pick(r, 0, 0, 0.02, 0.1), pick(r, 0, 0.05, 0.3), pick(r, 3, 12, 40), seed)
	}
	r.incarnation()
	for r.chance(0.3) {
		r.line("try client close")
		r.line("try server close")
		r.pause()
		r.incarnation()
	}
	r.line("quiet")
	s := Parse(fmt.Sprintf("seed-%d", seed), r.text.String())
	s.Seed = seed
	return s
}

// An author writes a script.
type author struct {
	rnd  *rand.Rand
	text strings.Builder
}

func (r *author) line(format string, args ...any) { fmt.Fprintf(&r.text, format+"\n", args...) }

func (r *author) chance(p float64) bool { return r.rnd.Float64() < p }

func pick[T any](r *author, from ...T) T { return from[r.rnd.IntN(len(from))] }

// pause lets time pass, or waits for a quiet moment.
func (r *author) pause() {
	if r.chance(0.4) {
		r.line("quiet")
		return
	}
	r.line("wait %dms", pick(r, 0, 0, 3, 8, 15, 40, 120, 300)+r.rnd.IntN(5))
}

// incarnation writes one life of the connection.
func (r *author) incarnation() {
	r.line("try client connect")
	if r.chance(0.05) {
		r.line("try server connect")
	}
	if r.chance(0.3) {
		r.line("try %s follow", pick(r, "client", "server"))
	}
	r.pause()
	for r.chance(0.6) {
		r.line("try %s send %d", pick(r, "client", "server"), pick(r, 1, 100, 1000, 5000, 60000))
		r.pause()
	}
	first := pick(r, "client", "server")
	second := map[string]string{"client": "server", "server": "client"}[first]
	switch n := r.rnd.IntN(20); {
	case n < 6:
		r.line("try %s close", first)
		r.pause()
		r.line("try %s close", second)
	case n < 10:
		r.line("try %s shutdown", first)
		r.pause()
		if r.chance(0.5) {
			r.line("try %s send %d", second, pick(r, 1, 1000, 20000))
			r.pause()
		}
		r.line("try %s close", second)
	case n < 13:
		r.line("try client close")
		r.line("try server close")
	case n < 16:
		r.line("try %s abort", first)
	case n < 17:
		r.line("try %s close", first)
		r.pause()
		r.line("try %s abort", second)
	case n < 18:
		r.line("try %s vanish", first)
		r.pause()
		r.line("try %s send 100", second)
	case n < 19:
		r.line("try %s die", first)
		r.pause()
		r.line("try %s close", second)
	default: // stays open
	}
	r.pause()
}
