// Package learned remembers what the rules did, so that they need not be asked again.
package learned

import (
	"maps"
	"slices"
)

// MaxForms and MaxEdges bound what is remembered. Ordinary traffic of all stacks together
// has a few hundred of both.
const MaxForms, MaxEdges = 1 << 12, 1 << 12

// An ID is the number of a form, from 1; 0: there is none, or it is not known which.
type ID uint16

// A Table has edges by the form that they lead from, which is an F, and a class. With a
// form is kept what follows from it, an S. The zero Table is empty.
type Table[F comparable, S, E any] struct {
	Followed uint64 // how often an edge was followed; counted by the caller

	ids   map[F]ID
	forms []form[F, S, E] // from 1
	edges int
}

type form[F, S, E any] struct {
	Form    F
	Follows S
	edges   []edge[E]
}

type edge[E any] struct {
	class uint32
	to    *E // nil: it says too little; the rules must be asked each time
}

// Counts says what was learned, and what it spared.
type Counts struct {
	Forms    int
	Edges    int    // from form to form
	Dead     int    // pairs of a form and a class that only the rules decide
	Followed uint64 // times that an edge was followed
}

// Counts returns what was counted.
func (t *Table[F, S, E]) Counts() Counts {
	n := Counts{Forms: len(t.ids), Followed: t.Followed}
	for i := range t.forms {
		for _, e := range t.forms[i].edges {
			if e.to == nil {
				n.Dead++
			} else {
				n.Edges++
			}
		}
	}
	return n
}

// ID returns the number of a form, which follows tells of where it is new; 0 if there are
// too many.
func (t *Table[F, S, E]) ID(f F, follows func() S) ID {
	id := t.ids[f]
	if id == 0 && len(t.ids) < MaxForms {
		if t.ids == nil {
			t.ids, t.forms = make(map[F]ID), make([]form[F, S, E], 1)
		}
		id = ID(len(t.forms))
		t.ids[f], t.forms = id, append(t.forms, form[F, S, E]{Form: f, Follows: follows()})
	}
	return id
}

// At returns the form of that number, and what follows from it, until the next ID.
func (t *Table[F, S, E]) At(id ID) *form[F, S, E] { return &t.forms[id] }

// Edge returns the edge of the class; known tells that there is one, if only to say that
// the rules must be asked, when it is nil.
func (f *form[F, S, E]) Edge(class uint32) (e *E, known bool) {
	for i := range f.edges {
		if f.edges[i].class == class {
			return f.edges[i].to, true
		}
	}
	return nil, false
}

// Full reports whether no edge can be added.
func (t *Table[F, S, E]) Full() bool { return t.edges == MaxEdges }

// Add adds an edge; nil says that the rules must be asked.
func (t *Table[F, S, E]) Add(from ID, class uint32, e *E) {
	t.forms[from].edges = append(t.forms[from].edges, edge[E]{class, e})
	t.edges++
}

// Clone returns a copy that may learn other things.
func (t *Table[F, S, E]) Clone() Table[F, S, E] {
	c := *t
	c.ids, c.forms = maps.Clone(t.ids), slices.Clone(t.forms)
	for i := range c.forms {
		c.forms[i].edges = slices.Clone(c.forms[i].edges)
	}
	return c
}
