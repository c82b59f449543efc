package oracle

import (
	"maps"
	"slices"
)

// Exceptions are what a test knows to be wrong, each with its reason. One that
// is not met any more is stale, and the test has to say so: else the list would
// hide the next fault of the same name.
type Exceptions struct {
	reasons map[string]string
	met     map[string]bool
}

// NewExceptions returns the exceptions of a test, by what is wrong.
func NewExceptions(reasons map[string]string) *Exceptions {
	return &Exceptions{reasons, map[string]bool{}}
}

// Reason returns why that is known to be wrong, and "" if it is not.
func (x *Exceptions) Reason(wrong string) string {
	x.met[wrong] = true
	return x.reasons[wrong]
}

// Stale returns those that were not met, in their order.
func (x *Exceptions) Stale() []string {
	var list []string
	for _, wrong := range slices.Sorted(maps.Keys(x.reasons)) {
		if !x.met[wrong] {
			list = append(list, wrong)
		}
	}
	return list
}
