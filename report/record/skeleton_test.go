package record

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// below are the types of which a value must be known, and how many those are.
var below = map[reflect.Type]int{
	reflect.TypeFor[tcp.State]():          int(tcp.NumStates),
	reflect.TypeFor[tcp.Certainty]():      int(tcp.NumCertainties),
	reflect.TypeFor[tcp.StackID]():        int(tcp.NumStacks),
	reflect.TypeFor[tcp.StackCertainty](): int(tcp.StackNamed) + 1,
	reflect.TypeFor[tcp.Origin]():         int(tcp.FromMidstream) + 1,
	reflect.TypeFor[tcp.ClosedBy]():       int(tcp.NumClosedBy),
	reflect.TypeFor[tcp.ResetBy]():        int(tcp.ResetByMiddlebox) + 1,
	reflect.TypeFor[tcp.Basis]():          int(tcp.NumBases),
	reflect.TypeFor[tcp.Endpoint]():       2,
	reflect.TypeFor[tcp.StateSet]():       1 << 4, // of those of an opening
	reflect.TypeFor[anomaly.Severity]():   int(anomaly.Error) + 1,
	reflect.TypeFor[anomaly.Confidence](): int(anomaly.ConfidenceAmbiguous) + 1,
}

// vary sets what v has to one of few values.
func vary(r *rand.Rand, v reflect.Value) {
	switch t := v.Type(); {
	case t == reflect.TypeFor[netip.AddrPort]():
		v.Set(reflect.ValueOf(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(256))}), uint16(r.IntN(100)))))
	case below[t] > 0 && v.CanUint():
		v.SetUint(uint64(r.IntN(below[t])))
	case v.CanUint():
		v.SetUint(uint64(r.IntN(3)))
	case v.CanInt():
		v.SetInt(int64(r.IntN(4) - 1))
	case t.Kind() == reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case t.Kind() == reflect.String:
		v.SetString([]string{"", "fin", "2msl"}[r.IntN(3)])
	case t == reflect.TypeFor[[]tracker.Step](), t == reflect.TypeFor[[]anomaly.Anomaly]():
		v.Set(reflect.MakeSlice(t, r.IntN(3), 2))
		fallthrough
	case t.Kind() == reflect.Array:
		for i := range v.Len() {
			vary(r, v.Index(i))
		}
	case t.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				vary(r, v.Field(i))
			}
		}
	}
}

// What the records of a shape share is in all of them: whatever else they have, a skeleton
// that was made of another says the same as one of their own.
func TestSkeletonsFitAllOfTheirShape(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var known skeletons
	var r tracker.Record
	vary(random, reflect.ValueOf(&r).Elem())
	used := 0
	for range 100_000 {
		// One or two things change, so that most are of a shape that was met before.
		old := r
		for range 1 + random.IntN(2) {
			of := reflect.ValueOf(&r).Elem()
			if random.IntN(2) == 0 {
				of = of.FieldByName("Ends").Index(random.IntN(2))
			}
			if field := of.Field(random.IntN(of.NumField())); field.Type() != reflect.TypeFor[[2]tracker.EndRecord]() {
				vary(random, field)
			}
		}
		if random.IntN(50) > 0 {
			r.Ends[0].Name, r.Ends[1].Name = "", ""
		}
		s, ok := shapeOf(&r)
		if ok && known[s] != nil {
			used++
		}
		got, want := string(known.appendConnection(nil, &r)), string(skeletonOf(&r).append(nil, &r))
		if got != want {
			t.Fatalf("%s\nis written, and by a skeleton of its own\n%s\nThe record before was\n%+v", got, want, old)
		}
		if len(known) > 2000 {
			clear(known)
		}
	}
	if used < 20_000 {
		t.Errorf("%d records were of a known shape, too few to tell", used)
	}
}
