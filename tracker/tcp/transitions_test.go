package tcp

import (
	"slices"
	"testing"
)

// moved walks the rows, one state and one input at a time.
func moved(set StateSet, ins ...Input) (after StateSet, effective InputSet) {
	for _, in := range ins {
		var next StateSet
		for s := range NumStates {
			if !set.Has(s) {
				continue
			}
			to := s
			for _, row := range transitions {
				if row.From == s && row.On == in {
					to = row.To
				}
			}
			next |= to.Set()
		}
		if next != set {
			effective |= in.Set()
		}
		set = next
	}
	return set, effective
}

// Whatever the set of states and the pair of inputs: the shortcuts come to what
// the rows say.
func TestShortcutsFollowTheRows(t *testing.T) {
	for set := StateSet(1); set < 1<<NumStates; set++ {
		for a := range NumInputs {
			for b := a + 1; b < NumInputs; b++ {
				ins := a.Set() | b.Set()
				after, effective := moved(set, a, b)
				if got := set.After(ins); got != after {
					t.Fatalf("%v takes %v to %v, want %v", ins, set.List(), got.List(), after.List())
				}
				if got := set.Effective(ins); got != effective {
					t.Fatalf("of %v, %v moves %v, want %v", ins, got, set.List(), effective)
				}
			}
		}
	}
}

func TestNameOfAnInput(t *testing.T) {
	if got := RcvFIN.String(); got != "recv FIN" {
		t.Errorf("RcvFIN is %q", got)
	}
}

func TestTwoRowsForOneInput(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a table with two rows for an input is compiled")
		}
	}()
	compile(append(slices.Clone(transitions), Transition{Established, RcvFIN, Closing, ""}))
}

func TestNamesOfInputs(t *testing.T) {
	for set, want := range map[InputSet]string{
		0:                                       "seen",
		RcvRST.Set():                            "recv RST",
		InputsOf(RcvRST, RcvRSTPassive):         "recv RST, recv RST (passive open)",
		Unreachable.Set():                       "ICMP unreachable",
		RcvSYN.Set() | RcvAckOfSYN.Set():        "recv SYN,ACK",
		RcvAckOfFIN.Set() | RcvFIN.Set():        "recv FIN,ACK",
		RcvAckOfSYN.Set() | RcvFIN.Set():        "recv ACK of SYN, recv FIN",
		RcvRST.Set() | SndFIN.Set() | 1<<SndRST: "recv RST, send RST, send FIN",
	} {
		if got := set.String(); got != want {
			t.Errorf("%b is named %q, want %q", set, got, want)
		}
	}
}

// What is received, and what people name by itself.
func TestPartsOfInputs(t *testing.T) {
	for set, want := range map[InputSet][]InputSet{
		0:                                     nil,
		RcvFIN.Set():                          {RcvFIN.Set()},
		InputsOf(RcvSYN, RcvAckOfSYN):         {InputsOf(RcvSYN, RcvAckOfSYN)},
		InputsOf(RcvAckOfFIN, RcvFIN):         {InputsOf(RcvAckOfFIN, RcvFIN)},
		InputsOf(RcvAckOfSYN, RcvFIN):         {RcvAckOfSYN.Set(), RcvFIN.Set()},
		InputsOf(RcvSYN, RcvAckOfSYN, RcvFIN): {RcvSYN.Set(), RcvAckOfSYN.Set(), RcvFIN.Set()},
	} {
		if got := set.Parts(); !slices.Equal(got, want) {
			t.Errorf("the parts of %v are %v, want %v", set, got, want)
		}
	}
	received := InputsOf(RcvRST, RcvRSTPassive, RcvSYN, RcvAckOfSYN, RcvAckOfFIN, RcvFIN)
	for in := range NumInputs {
		if got := in.Received(); got != received.Has(in) {
			t.Errorf("%v is received: %v", in, got)
		}
	}
}

// The table that is handed out is not the one that the machine runs.
func TestTransitionsAreACopy(t *testing.T) {
	rows := Transitions()
	if len(rows) != len(transitions) {
		t.Fatalf("%d rows, want %d", len(rows), len(transitions))
	}
	if rows[0].To = Unknown; transitions[0].To == Unknown {
		t.Error("the caller has changed the table")
	}
}
